"""What happens after the training, measured: events, durability, cuts, reads and repeats."""

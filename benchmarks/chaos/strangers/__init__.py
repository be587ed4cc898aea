"""What a stranger may put into a run folder, a sweep, a study, a bundle or a cache, by where it lies."""

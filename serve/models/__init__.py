"""The bundle in service: which one the pointer names, whether it may follow the last, and what it answers."""

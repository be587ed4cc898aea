"""The bundle in service: which one is named for it, whether it may follow the last, and what it answers."""

"""Look at data before training: files of a folder, statistics, a picture, and the command that trains."""

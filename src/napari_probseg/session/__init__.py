"""Session: the state of the work on one image, its history, its file and its script."""

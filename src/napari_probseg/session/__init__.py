"""The work on one image as a value that moves in steps: history, correction, storage and script."""

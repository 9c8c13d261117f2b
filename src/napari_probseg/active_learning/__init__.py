"""The loop that learns: train on what was finished, judge on what is held out, adopt, and choose the next image."""

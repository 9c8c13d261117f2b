"""Tasks of the widgets, each a generator that runs in a thread."""

"""Work of the widgets that runs in a thread."""

"""Images, label maps and strokes made at run time."""

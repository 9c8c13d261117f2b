"""The Dataset widget."""

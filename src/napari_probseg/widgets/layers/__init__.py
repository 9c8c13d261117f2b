"""Layers of napari: the image, the markers and objects over it, the preview of candidates."""

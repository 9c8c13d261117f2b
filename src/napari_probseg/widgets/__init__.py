"""Widgets of napari; beside the command line the only modules that import napari and Qt."""

from importlib.metadata import version

from napari_probseg.napari_io.version import check_version

check_version(version("napari"))

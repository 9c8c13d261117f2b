"""The napari widgets: the only modules that import napari and Qt."""

import re

import napari

OLDEST_NAPARI = (0, 7)


def check_version(version: str) -> None:
    """Refuse a napari that is older than what the widgets are tested with.

    Raises
    ------
    RuntimeError
        If it is too old; a version that cannot be read is let pass.
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < OLDEST_NAPARI:
        oldest = ".".join(map(str, OLDEST_NAPARI))
        raise RuntimeError(
            f"napari-probseg needs napari {oldest} or newer, and this is {version}: pip install --upgrade napari"
        )


check_version(napari.__version__)

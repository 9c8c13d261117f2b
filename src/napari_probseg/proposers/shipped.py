"""Files of the weights that come with the package."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from napari_probseg.io.paths import CHECK_ITS_NAME, why_no_file

GENERAL = {2: "general", 3: "general3d"}  # the weights of images and of volumes: where both are in a folder, a pair


def shipped_weights() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(p.name.removesuffix(".safetensors") for p in _folder().iterdir() if p.suffix == ".safetensors")


def weights_path(name: str | Path, *, others: Iterable[str] = ()) -> Path:
    """Return the file of shipped weights, or the file that is named.

    Parameters
    ----------
    name : str or path
    others : iterable of str
        What could have been named, too, and has no file.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    if name in shipped_weights():
        return _folder() / f"{name}.safetensors"
    path = Path(name)
    if why := why_no_file(path):
        why = f"name one of {', '.join((*shipped_weights(), *others))}, or a file" if why == CHECK_ITS_NAME else why
        raise FileNotFoundError(f"there are no weights {str(name)!r}: {why}")
    return path


def _folder() -> Path:
    return Path(str(resources.files("napari_probseg"))) / "weights"

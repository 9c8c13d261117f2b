"""Files of the weights that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

GENERAL = {2: "general", 3: "general3d"}  # the weights of images and of volumes: where both are in a folder, a pair


def shipped_weights() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(p.name.removesuffix(".safetensors") for p in _folder().iterdir() if p.suffix == ".safetensors")


def weights_path(name: str | Path) -> Path:
    """Return the file of shipped weights, or the file that is named.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    shipped = _folder() / f"{name}.safetensors"
    if isinstance(name, str) and shipped.is_file():
        return shipped
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {str(name)!r}: name one of {shipped_weights()}, or a file")
    return path


def _folder() -> Path:
    return Path(str(resources.files("napari_probseg"))) / "weights"

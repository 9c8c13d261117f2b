"""From a case to candidates."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_probseg.candidates import Proposer


def load_proposer(name: str | Path = "general", *, device: str = "auto") -> Proposer:
    """Return a proposer with its weights.

    Parameters
    ----------
    name : str or path
        Shipped weights (``"general"`` for any image, ``"wong2022"`` for the paper's 32x32 disks), or a weights file.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no such weights, or they are damaged or of another version.
    RuntimeError
        If the device is not there.
    """
    from napari_probseg.nn.presets import load_network
    from napari_probseg.nn.wong2022 import Wong2022
    from napari_probseg.proposers.cvae import CVAEProposer
    from napari_probseg.proposers.wong2022 import Wong2022Proposer

    network = load_network(_path_of(name))
    if isinstance(network, Wong2022):
        return Wong2022Proposer(network, name=str(name), device=device)
    return CVAEProposer(network, name=str(name), device=device)


def shipped_weights() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(p.name.removesuffix(".safetensors") for p in _weights().iterdir() if p.suffix == ".safetensors")


def _weights() -> Path:
    return Path(str(resources.files("napari_probseg"))) / "weights"


def _path_of(name: str | Path) -> Path:
    shipped = _weights() / f"{name}.safetensors"
    if isinstance(name, str) and shipped.is_file():
        return shipped
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {str(name)!r}: name one of {shipped_weights()}, or a file")
    return path

"""Proposers and completers: from a case to candidates; loading them with their weights."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from napari_probseg.candidates import Proposer
    from napari_probseg.nn.presets import General
    from napari_probseg.proposers.histogram_cut import GraphCut
    from napari_probseg.proposers.trained_unet import TrainedUNet
    from napari_probseg.proposers.unet_cut import UNetCut

_GENERAL = {2: "general", 3: "general3d"}


def load_proposer(name: str | Path = "general", *, device: str = "auto") -> Proposer:
    """Return a proposer with its weights.

    Parameters
    ----------
    name : str or path
        Shipped weights (``"general"`` for any image or volume, ``"wong2022"`` for the paper's 32x32 disks), or a
        weights file. Where it is of images or of volumes alone, ``general3d.safetensors`` or ``general.safetensors``
        beside it is used for the others, or the shipped one.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no such weights, or they are damaged or of another version.
    RuntimeError
        If the device is not there.
    """
    from napari_probseg.nn.presets import General, load_network
    from napari_probseg.nn.wong2022 import Wong2022
    from napari_probseg.proposers.cvae import CVAEProposer
    from napari_probseg.proposers.wong2022 import Wong2022Proposer

    network = load_network(path := weights_path(name))
    if isinstance(network, Wong2022):
        return Wong2022Proposer(network, name=str(name), device=device)
    if not isinstance(network, General):
        raise ValueError(f"the weights {str(name)!r} are of a network that proposes nothing: try 'general'")
    return CVAEProposer(_and_other(network, path), name=str(name), device=device)


def load_completer(
    name: str | Path = "general", *, label: str | None = None, device: str = "auto"
) -> UNetCut | GraphCut | TrainedUNet:
    """Return a completer with its weights.

    Parameters
    ----------
    name : str or path
        ``"general"`` (a network and a graph cut, for any image or volume), ``"intensities"`` (a graph cut by the
        strokes' intensities, without a network), ``"appearance"`` (by what the strokes look like, for vessels and other
        things that are thin or scattered; without a network, too), or a weights file: of the preset ``general`` (see
        `load_proposer`), or of a U-Net that was trained on a data set.
    label : str, optional
        Of a U-Net that was trained on several labels, the one to complete; the one under the strokes if absent.
    device : str
        ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ``"mps"``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no such weights, or they are damaged, of another version, or of another network; or they know no
        such label.
    RuntimeError
        If the device is not there.
    """
    from napari_probseg.proposers.appearance_cut import AppearanceCut
    from napari_probseg.proposers.histogram_cut import GraphCut

    for without_weights in (GraphCut, AppearanceCut):
        if name == without_weights.name:
            return without_weights()
    from napari_probseg.nn.presets import General, load_network
    from napari_probseg.nn.unet import UNet
    from napari_probseg.proposers.trained_unet import TrainedUNet
    from napari_probseg.proposers.unet_cut import UNetCut

    network = load_network(path := weights_path(name))
    if isinstance(network, UNet):
        return TrainedUNet.load(path, network, label=label, device=device)
    if not isinstance(network, General):
        raise ValueError(f"the weights {str(name)!r} are of another network: completion needs those of 'general'")
    return UNetCut(_and_other(network, path), name=str(name), device=device)


def _and_other(network: General, path: Path) -> dict[int, General]:
    """Return a network by its number of axes, and that of the other number: from beside it, else the shipped one."""
    from napari_probseg.nn.presets import load_network

    ndim = network.config.ndim
    beside = path.with_name(f"{_GENERAL[5 - ndim]}.safetensors")
    other = load_network(beside if beside.is_file() else weights_path(_GENERAL[5 - ndim]))
    return {ndim: network, 5 - ndim: cast("General", other)}


def shipped_weights() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(p.name.removesuffix(".safetensors") for p in _weights().iterdir() if p.suffix == ".safetensors")


def _weights() -> Path:
    return Path(str(resources.files("napari_probseg"))) / "weights"


def weights_path(name: str | Path) -> Path:
    """Return the file of shipped weights, or the file that is named.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    shipped = _weights() / f"{name}.safetensors"
    if isinstance(name, str) and shipped.is_file():
        return shipped
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {str(name)!r}: name one of {shipped_weights()}, or a file")
    return path

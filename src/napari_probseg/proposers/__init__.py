"""Proposers and completers: from a case to candidates; loading them with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from napari_probseg.candidates import Proposer
    from napari_probseg.proposers.histogram_cut import GraphCut
    from napari_probseg.proposers.trained_unet import TrainedUNet
    from napari_probseg.proposers.unet_cut import UNetCut


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

    Returns
    -------
    Proposer

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no such weights, or they are damaged or of another version.
    RuntimeError
        If the device is not there.
    """
    from napari_probseg.proposers.registry import proposer

    return proposer(name, device=device)


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

    Returns
    -------
    UNetCut, GraphCut or TrainedUNet
        Each a `napari_probseg.Proposer` with one candidate.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no such weights, or they are damaged, of another version, or of another network; or they know no
        such label.
    RuntimeError
        If the device is not there.
    """
    from napari_probseg.proposers.registry import completer

    return cast("UNetCut | GraphCut | TrainedUNet", completer(name, label=label, device=device))

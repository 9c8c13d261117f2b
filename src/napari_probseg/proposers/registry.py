"""Registry of proposers and completers: which network makes which, and each weights file loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from napari_probseg.candidates import Proposer
from napari_probseg.inference.device import chosen_device
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.general import GeneralCVAE
from napari_probseg.nn.presets import General
from napari_probseg.nn.unet import UNet
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.nn.wong2022 import Wong2022
from napari_probseg.proposers.completer import Completer
from napari_probseg.proposers.cvae import CVAEProposer
from napari_probseg.proposers.histogram_cut import GraphCut
from napari_probseg.proposers.networks import Networks
from napari_probseg.proposers.pixel_classifier_cut import PixelClassifierCut
from napari_probseg.proposers.shipped import GENERAL, weights_path
from napari_probseg.proposers.trained_unet import TrainedUNet
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.proposers.wong2022 import Wong2022Proposer

NETWORKS = Networks()  # of this process


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights that were asked for, and their network.

    Parameters
    ----------
    name : str
        What they were called.
    path : path
        Their file.
    network : Module
        Shared by all that use it, on ``device``.
    device : torch.device
    label : str, optional
        What is meant of a network that knows several.
    """

    name: str
    path: Path
    network: nn.Module
    device: torch.device
    label: str | None = None

    @classmethod
    def of(cls, name: str | Path, *, device: str, label: str | None = None, others: Iterable[str] = ()) -> Weights:
        """Return the weights of that name on a device; see `load_proposer` for both, and for what is raised."""
        path, where = weights_path(name, others=others), chosen_device(device)
        return cls(str(name), path, NETWORKS.get(path, where), where, label)

    def pair(self) -> dict[int, General]:
        """Return the network by its number of axes, and that of the other number: from beside it, else the shipped."""
        network = cast("General", self.network)
        other = 5 - network.config.ndim
        beside = self.path.with_name(f"{GENERAL[other]}.safetensors")
        path = beside if beside.is_file() else weights_path(GENERAL[other])
        return {network.config.ndim: network, other: cast("General", NETWORKS.get(path, self.device))}


def _cvae(weights: Weights) -> CVAEProposer:
    return CVAEProposer(weights.pair(), name=weights.name, device=str(weights.device))


def _wong2022(weights: Weights) -> Wong2022Proposer:
    return Wong2022Proposer(cast("Wong2022", weights.network), name=weights.name, device=str(weights.device))


def _unet_cut(weights: Weights) -> UNetCut:
    return UNetCut(weights.pair(), name=weights.name, device=str(weights.device))


def _trained_unet(weights: Weights) -> TrainedUNet:
    network = cast("UNet", weights.network)
    return TrainedUNet.load(weights.path, network, label=weights.label, device=str(weights.device))


PROPOSERS: dict[type[nn.Module], Callable[[Weights], Proposer]] = {
    AdvisedCVAE: _cvae,
    GeneralCVAE: _cvae,
    VolumeCVAE: _cvae,
    Wong2022: _wong2022,
}
COMPLETERS: dict[type[nn.Module], Callable[[Weights], Completer]] = {
    AdvisedCVAE: _unet_cut,
    GeneralCVAE: _unet_cut,
    VolumeCVAE: _unet_cut,
    UNet: _trained_unet,
}
WITHOUT_WEIGHTS: dict[str, Callable[[], Completer]] = {
    GraphCut.name: GraphCut,
    PixelClassifierCut.name: PixelClassifierCut,
}


def proposer(name: str | Path, *, device: str) -> Proposer:
    """Return a proposer; see `napari_probseg.load_proposer`."""
    if isinstance(name, str) and name in WITHOUT_WEIGHTS:
        raise ValueError(f"{name!r} completes objects, and proposes nothing: try 'general'")
    weights = Weights.of(name, device=device)
    make = PROPOSERS.get(type(weights.network))
    if make is None:
        raise ValueError(f"the weights {str(name)!r} are of a network that proposes nothing: try 'general'")
    return make(weights)


def completer(name: str | Path, *, label: str | None, device: str) -> Any:
    """Return a completer; see `napari_probseg.load_completer`."""
    if isinstance(name, str) and name in WITHOUT_WEIGHTS:
        if label is not None:
            raise ValueError(f"{name!r} completes any object and knows no label {label!r}: leave it out")
        return WITHOUT_WEIGHTS[name]()
    weights = Weights.of(name, device=device, label=label, others=WITHOUT_WEIGHTS)
    make = COMPLETERS.get(type(weights.network))
    if make is None:
        raise ValueError(f"the weights {str(name)!r} are of another network: completion needs those of 'general'")
    if label is not None and make is not _trained_unet:
        raise ValueError(f"the weights {str(name)!r} complete any object and know no label {label!r}: leave it out")
    return make(weights)

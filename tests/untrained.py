"""Small networks that nobody trained, as proposers and completers."""

from __future__ import annotations

from dataclasses import replace

import torch

from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.nn.unet import UNet, UNetConfig
from napari_probseg.proposers.cvae import CVAEProposer
from napari_probseg.proposers.trained_unet import TrainedUNet, TrainedUNetConfig
from napari_probseg.proposers.unet_cut import UNetCut


def networks() -> dict[int, GeneralCVAE]:
    """Return a network of images and one of volumes."""
    torch.manual_seed(0)
    small = GeneralConfig(widths=(8, 16, 24), n_head=16, n_latent=4)
    return {n: GeneralCVAE(replace(small, ndim=n)) for n in (2, 3)}


def cvae_proposer() -> CVAEProposer:
    return CVAEProposer(networks(), device="cpu")


def unet_cut() -> UNetCut:
    return UNetCut(networks(), name="general", device="cpu")


def trained_unet() -> TrainedUNet:
    torch.manual_seed(0)
    network = UNet(UNetConfig(widths=(8, 16), norm="group"))
    return TrainedUNet(network, TrainedUNetConfig({"background": 0, "cell": 1}, (32, 32)), name="a file", device="cpu")

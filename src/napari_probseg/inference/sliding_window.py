"""Sliding-window inference of a U-Net on an image of any size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.inference_mode()
def logits(network: nn.Module, image: Tensor, *, patch: Sequence[int], device: str | torch.device = "cpu") -> Tensor:
    """Return the logits of every label, (L, Z, Y, X), from overlapping patches of a normalised image, (C, Z, Y, X)."""
    slide = monai("inferers").sliding_window_inference
    with warnings.catch_warnings():
        # MONAI 1.5 indexes with lists, of which PyTorch from 2.9 on warns; the answer is right.
        warnings.filterwarnings("ignore", "Using a non-tuple sequence")
        found = slide(image[None].to(device), tuple(patch), 4, network, overlap=0.5, mode="gaussian")
    assert isinstance(found, Tensor)
    return found[0].cpu()


def monai(name: str):  # type: ignore[no-untyped-def]
    """Return a module of MONAI, or say how to get it."""
    from importlib import import_module

    try:
        return import_module(f"monai.{name}")
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "training on labelled images needs MONAI: install it with pip install 'napari-probseg[train]'"
        ) from error

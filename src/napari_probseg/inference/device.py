"""Device on which a network runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import nn

_T = TypeVar("_T")


class OnDevice(Protocol):
    """What asks networks that are on a device."""

    @property
    def networks(self) -> Mapping[int, nn.Module]:
        """The networks by their number of axes."""
        ...


def chosen_device(name: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is a GPU if there is one.

    Raises
    ------
    RuntimeError
        If it is not there.
    """
    name = str(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there.get(name.split(":")[0], False):
        usable = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise RuntimeError(f"there is no device {name!r} here: use device='auto', or one of {usable}")
    return torch.device(name)


def with_fallback(owner: OnDevice, work: Callable[[], _T]) -> _T:
    """Return what some work returns; where the GPU's memory does not do, it is done again on the CPU, for good."""
    try:
        return work()
    except torch.cuda.OutOfMemoryError:  # the name that the oldest torch knows, too
        warnings.warn("the GPU has no memory left: going on on the CPU", RuntimeWarning, stacklevel=4)
    torch.cuda.empty_cache()
    for network in owner.networks.values():
        network.cpu()
    return work()

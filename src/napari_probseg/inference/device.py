"""Device on which a network runs."""

from __future__ import annotations

import torch


def chosen_device(name: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is a GPU if there is one.

    Raises
    ------
    RuntimeError
        If it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    if not there.get(name.split(":")[0], False):
        usable = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise RuntimeError(f"there is no device {name!r} here: use device='auto', or one of {usable}")
    return torch.device(name)

"""Distributed training on several GPUs or machines by Lightning Fabric."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# The others wait while the first process validates or cuts crops; the default of half an hour can be too short.
_PATIENCE = timedelta(hours=12)


def launch(n_devices: int, device: str) -> Fabric | None:
    """Start the other processes of a training, which run the same command line, and return what joins them.

    Parameters
    ----------
    n_devices : int
        Processes on this machine. In a process that ``torchrun`` has started, its numbers count instead.
    device : str
        ``"cpu"``, or ``"cuda"``, where each process gets a GPU of its own.

    Returns
    -------
    Fabric or None
        None where one process trains alone.

    Raises
    ------
    RuntimeError
        If Lightning Fabric is not installed.
    ValueError
        If there are not so many devices.
    """
    by_torchrun = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    n_machines = 1
    if by_torchrun:
        n_devices = int(os.environ["LOCAL_WORLD_SIZE"])
        n_machines = int(os.environ["WORLD_SIZE"]) // n_devices
    if n_devices * n_machines == 1:
        return None
    _check(n_devices, device)
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "training in several processes needs Lightning Fabric: "
            "install it with pip install 'napari-probseg[distributed]'"
        ) from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it prints a banner otherwise
    fabric = Fabric(
        accelerator=device,
        strategy=DDPStrategy(timeout=_PATIENCE),
        devices=n_devices,
        num_nodes=n_machines,
        # Named, as Fabric would else take a batch system's word for the number of processes.
        plugins=[TorchElasticEnvironment() if by_torchrun else LightningEnvironment()],
    )
    fabric.launch()
    atexit.register(_leave)
    return fabric


def _leave() -> None:
    """End the threads that wait for messages: one that is left when Python ends can abort the process."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _check(n_devices: int, device: str) -> None:
    if n_devices < 1:
        raise ValueError(f"a training needs at least 1 device, got {n_devices}")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"several processes train on 'cpu' or 'cuda', got {device!r}")
    if device == "cuda" and torch.cuda.device_count() < n_devices:
        raise ValueError(f"{n_devices} GPUs were asked for, this machine has {torch.cuda.device_count()}")


def is_first(fabric: Fabric | None) -> bool:
    """Return whether this process is the one that writes files and speaks to the user."""
    return fabric is None or fabric.is_global_zero


def share(network: nn.Module, figures: Iterable[Tensor], fabric: Fabric) -> None:
    """Replace gradients, running statistics and figures by their means over the processes.

    DistributedDataParallel would do it behind ``forward``, but losses here call ``features``, ``encode`` or ``decode``,
    also several times in a step. The mean of the gradients after ``backward`` is right for every loss. What it gives
    up, sending while ``backward`` still computes, is little for networks of this size.
    """
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.grad is None:  # other processes may have one: all must send the same
            parameter.grad = torch.zeros_like(parameter)
    tensors = [p.grad for p in network.parameters() if p.grad is not None]
    tensors += [b for b in network.buffers() if b.is_floating_point()]  # e.g. the mean and variance of a batch norm
    _average([*tensors, *figures], fabric)


@torch.no_grad()
def _average(tensors: list[Tensor], fabric: Fabric) -> None:
    """Average each tensor in place, in one message, as many small ones are slow."""
    mean = fabric.all_reduce(torch.cat([t.reshape(-1) for t in tensors]), reduce_op="mean")
    assert isinstance(mean, Tensor)
    for tensor, part in zip(tensors, torch.split(mean, [t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))

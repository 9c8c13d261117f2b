"""Networks on a device: each weights file is loaded once, and shared by all that ask it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from weakref import WeakValueDictionary

import torch
from torch import nn

from napari_probseg.inference.device import chosen_device
from napari_probseg.inference.remembered import Remembered
from napari_probseg.nn.presets import General, load_network

MAX_KEPT_NETWORKS = 4  # that nothing uses: those for images and for volumes, the shipped ones and a data set's own


@dataclass(frozen=True)
class _Version:
    """A weights file as it is now, and the device that its network is for."""

    path: Path
    device: str
    time_ns: int
    n_bytes: int
    node: int

    @classmethod
    def of(cls, path: Path, device: torch.device) -> _Version:
        found = path.stat()
        return cls(path.resolve(), str(device), found.st_mtime_ns, found.st_size, found.st_ino)

    def replaces(self, other: _Version) -> bool:
        return self != other and (self.path, self.device) == (other.path, other.device)


class Networks:
    """The networks that were loaded, by their files.

    A network is shared by all that use it: copy it before it is changed. It is loaded again once its file has changed,
    and freed when nothing uses it any more and its file was replaced, or some others were asked for since.

    Parameters
    ----------
    n_kept : int
        How many are kept that nothing uses.
    load : callable
        From a weights file to its network.
    """

    def __init__(self, n_kept: int = MAX_KEPT_NETWORKS, load: Callable[[Path], nn.Module] = load_network) -> None:
        self._n_kept, self._load = n_kept, load
        self._used: WeakValueDictionary[_Version, nn.Module] = WeakValueDictionary()
        self._kept: OrderedDict[_Version, nn.Module] = OrderedDict()  # the latest one asked for last
        self._lock = RLock()  # who asks for what is being loaded waits for it, and does not load it, too

    def get(self, path: Path, device: torch.device) -> nn.Module:
        """Return the network of a weights file on a device, ready to predict.

        Raises
        ------
        FileNotFoundError, ValueError
            As `load_network`.
        """
        with self._lock:
            version = _Version.of(path, device)
            for old in [kept for kept in self._kept if version.replaces(kept)]:
                del self._kept[old]
            network = self._used.get(version)
            if network is None:
                network = self._load(path).eval().to(device)
            self._used[version] = self._kept[version] = network
            self._kept.move_to_end(version)
            while len(self._kept) > self._n_kept:
                self._kept.popitem(last=False)
        return network


class AsksNetworks:
    """What asks the networks of the preset ``general``, one for images and one for volumes.

    Parameters
    ----------
    networks : mapping of int to AdvisedCVAE or GeneralCVAE
        By the number of axes, 2 and 3.
    name : str
        What the weights are called.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    def __init__(self, networks: Mapping[int, General], *, name: str = "general", device: str = "auto") -> None:
        self.name = name
        where = chosen_device(device)
        self.networks = {ndim: network.eval().to(where) for ndim, network in networks.items()}
        self.remembered = Remembered()

    @property
    def device(self) -> torch.device:
        """Where the networks are: shared ones go to the CPU for all when the GPU's memory is short."""
        return next(next(iter(self.networks.values())).parameters()).device

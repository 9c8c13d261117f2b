"""Completer by a U-Net trained on a data set of one's own, and graph cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.inference.device import chosen_device
from napari_probseg.inference.sliding_window import logits
from napari_probseg.inference.windows import window_for
from napari_probseg.io.json_file import read_json
from napari_probseg.morphology import far_from
from napari_probseg.nn.inputs import z_scored
from napari_probseg.nn.unet import UNet
from napari_probseg.proposers.completer import Completer
from napari_probseg.proposers.completion import Completion, CutConfig


@dataclass(frozen=True)
class TrainedUNetConfig:
    """What a U-Net was trained for, and what of it is meant.

    Parameters
    ----------
    labels : mapping of str to int
        Those that it was trained on; 0 is background.
    patch : tuple of int
        What it looks at at once, in voxels.
    label : str, optional
        The one to complete; the one that the strokes inside lie on, or all together, if absent.

    Raises
    ------
    ValueError
        If there is no such label.
    """

    labels: Mapping[str, int]
    patch: tuple[int, ...]
    label: str | None = None

    def __post_init__(self) -> None:
        if self.label is not None and not self.labels.get(self.label):
            known = ", ".join(name for name, value in self.labels.items() if value)
            raise ValueError(f"this network knows no label {self.label!r}: choose one of {known}")


class TrainedUNet(Completer):
    """Completes the objects that a U-Net was trained to find; satisfies `napari_probseg.Proposer`.

    Where nothing is marked, it is all that the network finds. Strokes inside say which of its labels is meant, and
    which object; the graph cut obeys them all.

    Parameters
    ----------
    network : UNet
    config : TrainedUNetConfig
    name : str
        What `load_completer` calls it.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """

    def __init__(self, network: UNet, config: TrainedUNetConfig, *, name: str = "", device: str = "auto") -> None:
        self.name, self.config = name, config
        self.device = chosen_device(device)
        self.network = network.eval().to(self.device)

    @classmethod
    def load(cls, path: Path, network: UNet, *, label: str | None = None, device: str = "auto") -> TrainedUNet:
        """Return the completer for a weights file, which has what it is for in a ``.json`` file beside it.

        Raises
        ------
        FileNotFoundError
            If that file is missing.
        ValueError
            If it is damaged, or there is no such label.
        """
        about = path.with_suffix(".json")
        if not about.is_file():
            raise FileNotFoundError(f"{about} is missing, which says what {path.name} is for: keep both in one folder")
        metadata = read_json(about, advice=f"get it anew from where {path.name} was trained")
        try:
            labels, patch = dict(metadata["labels"]), tuple(int(n) for n in metadata["patch"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{about} is damaged ({error}): get it anew from where {path.name} was trained") from error
        return cls(network, TrainedUNetConfig(labels, patch, label), name=str(path), device=device)

    def complete(self, case: Case) -> Completion:
        """Look at a case once; masks are cut from what comes back.

        Raises
        ------
        ValueError
            If the image has other axes or channels than those that the network was trained on.
        """
        wanted = self.network.config
        case = case.at(None)
        window = window_for(case)
        where = window.within(case.shape)
        image = case.read(where)
        if case.ndim != wanted.ndim or len(image) != wanted.n_channels:
            raise ValueError(
                f"{self.name or 'this network'} was trained on {wanted.ndim}-D images of {wanted.n_channels} channels, "
                f"this one is {case.ndim}-D of {len(image)}: choose another one"
            )
        seen = torch.from_numpy(z_scored(image))
        every = logits(self.network, seen, patch=self.config.patch, device=self.device).softmax(0).numpy()
        marked = case.partial[where] == Marker.OBJECT
        completion = Completion(case, window, np.ascontiguousarray(self._object(every, marked)))
        if marked.any():
            elsewhere = far_from(completion.mask(CutConfig()), marked)
            completion.probability = np.where(elsewhere, np.float32(0), completion.probability)
        return completion

    def _object(self, every: NDArray[np.float32], marked: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return how likely each voxel is object, from how likely it is each label."""
        if self.config.label is None and not marked.any():
            return np.asarray(1 - every[0])
        if self.config.label is None:
            value = 1 + int(np.argmax([probability[marked].mean() for probability in every[1:]]))
        else:
            value = self.config.labels[self.config.label]
        return np.asarray(every[value])

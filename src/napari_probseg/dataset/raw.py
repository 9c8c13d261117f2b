"""Reader of data sets in the nnU-Net v2 raw format."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelledImage:
    """One case of a data set.

    Parameters
    ----------
    name : str
    image : (C, Y, X) or (C, Z, Y, X) float32 array
    label : (Y, X) or (Z, Y, X) int32 array
    spacing : tuple of float
        In mm, in the order of the label's axes.
    instances : bool
        Whether values above 1 tell single objects of one kind apart.
    """

    name: str
    image: NDArray[np.float32]
    label: NDArray[np.int32]
    spacing: tuple[float, ...]
    instances: bool


class RawDataset:
    """``dataset.json``, ``imagesTr/CASE_CHANNEL.ext``, ``labelsTr/CASE.ext``.

    Raises
    ------
    FileNotFoundError
        If the folder holds no ``dataset.json``.
    ValueError
        If its ``dataset.json`` is damaged or of another format.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        about = read_about(self.folder)
        self.ending: str = about["file_ending"]
        self.labels: dict[str, int] = about["labels"]
        self.instances = "one id per" in about.get("description", "")
        names = (p.name.removesuffix(self.ending) for p in (self.folder / "labelsTr").glob(f"*{self.ending}"))
        self.cases = sorted(names)

    def split(self, part: str) -> list[str]:
        """Return the names of the ``"training"`` part (the first two thirds) or of the ``"test"`` part."""
        n_training = len(self.cases) * 2 // 3
        return {"training": self.cases[:n_training], "test": self.cases[n_training:]}[part]

    def load(self, case: str) -> LabelledImage:
        """Read one case; channels first.

        Raises
        ------
        ValueError
            If image and label differ in shape.
        """
        label, spacing = _read(self.folder / "labelsTr" / f"{case}{self.ending}")
        channels: list[NDArray[np.float32]] = []
        for path in sorted((self.folder / "imagesTr").glob(f"{case}_[0-9][0-9][0-9][0-9]{self.ending}")):
            channel = _read(path)[0].astype(np.float32)
            parts = np.moveaxis(channel, -1, 0) if channel.ndim > label.ndim else channel[None]  # RGB in one file
            if parts.shape[1:] != label.shape:
                raise ValueError(f"{path} is {parts.shape[1:]}, its label {label.shape}: they must be of one shape")
            channels.extend(parts)
        if not channels:
            raise FileNotFoundError(f"{self.folder / 'imagesTr'} has no image of the label {case}{self.ending}")
        return LabelledImage(case, np.stack(channels), label.astype(np.int32), spacing, self.instances)

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self.load(case) for case in self.cases)


def read_about(folder: Path) -> dict[str, Any]:
    """Return what ``dataset.json`` tells; see `RawDataset` for what it raises."""
    path = folder / "dataset.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no nnU-Net v2 raw data set: it has no dataset.json")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): get it anew") from error
    if not isinstance(about, dict) or not isinstance(about.get("labels"), dict) or "file_ending" not in about:
        raise ValueError(
            f"{path} is not of nnU-Net v2, which tells file_ending and labels by name: convert it first, from nnU-Net "
            f"v1 with nnUNetv2_convert_old_nnUNet_dataset"
        )
    return about


def datasets_below(folder: str | Path) -> list[RawDataset]:
    """Return every data set in the folders below ``folder``, by name."""
    return [RawDataset(path.parent) for path in sorted(Path(folder).glob("*/dataset.json"))]


def named(names: Iterable[str], datasets: Iterable[RawDataset]) -> list[RawDataset]:
    """Return the data sets of some names: a folder's, or what stands in it behind ``DatasetNNN_``.

    Raises
    ------
    FileNotFoundError
        If none has one of the names.
    """
    names, names_of = set(names), {d: {d.folder.name, re.sub(r"^Dataset\d+_", "", d.folder.name)} for d in datasets}
    unknown = ", ".join(sorted(names.difference(*names_of.values())))
    if unknown:
        there = ", ".join(dataset.folder.name for dataset in names_of) or "none"
        raise FileNotFoundError(f"there is no data set {unknown}: there are {there}; name one of them, or their folder")
    return [dataset for dataset, own in names_of.items() if own & names]


def all_but(left_out: Iterable[str], datasets: Iterable[RawDataset]) -> list[RawDataset]:
    """Return the data sets without those that are `named`, which a training is not to see."""
    datasets = list(datasets)
    folders = {dataset.folder for dataset in named(left_out, datasets)}
    return [dataset for dataset in datasets if dataset.folder not in folders]


def _read(path: Path) -> tuple[NDArray[np.generic], tuple[float, ...]]:
    from napari_probseg.io import read

    picture = read(path)
    return np.asarray(picture.data), tuple(picture.spacing)

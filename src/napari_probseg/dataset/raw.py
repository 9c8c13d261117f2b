"""Reader of data sets in the nnU-Net v2 raw format."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.images import checked_spacing
from napari_probseg.intensities import finite, single
from napari_probseg.io import PIXEL, TIFF, Picture, read
from napari_probseg.io.json_file import read_json
from napari_probseg.io.labels import laid_on, read_labels
from napari_probseg.io.notice import tell
from napari_probseg.io.paths import why_no_folder


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
        If its ``dataset.json`` is damaged or of another format, or tells another ending than the files have.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        about = read_about(self.folder)
        self.ending: str = about["file_ending"]
        self.labels: dict[str, int] = about["labels"]
        self._has_one_label = sorted(map(str, self.labels.values())) == ["0", "1"]  # its other numbers: single objects
        self.instances = "one id per" in about.get("description", "")
        labels = sorted(path.name for path in (self.folder / "labelsTr").glob("[!.]*") if path.is_file())
        self.cases = [name.removesuffix(self.ending) for name in labels if name.endswith(self.ending)]
        if labels and not self.cases:
            raise ValueError(
                f"{self.folder / 'dataset.json'} says that files end in {self.ending}, and labelsTr holds {labels[0]}: "
                f"correct file_ending, or convert the files"
            )

    def split(self, part: str) -> list[str]:
        """Return the names of the ``"training"`` part (the first two thirds) or of the ``"test"`` part."""
        n_training = len(self.cases) * 2 // 3
        return {"training": self.cases[:n_training], "test": self.cases[n_training:]}[part]

    def load(self, case: str) -> LabelledImage:
        """Read one case; channels first.

        Parameters
        ----------
        case : str
            Its name, one of ``cases``.

        Raises
        ------
        FileNotFoundError
            If its image or its labels are missing.
        ValueError
            If image and label do not lie in the same place.
        """
        pattern = f"{glob.escape(case)}_[0-9][0-9][0-9][0-9]{self.ending}"
        paths = sorted((self.folder / "imagesTr").glob(pattern))
        if not paths:
            raise FileNotFoundError(f"{self.folder / 'imagesTr'} has no image of the label {case}{self.ending}: add it")
        place, image = image_of(paths)
        path = self.folder / "labelsTr" / f"{case}{self.ending}"
        label = read_labels(path, place, of=paths[0])
        if (highest := int(label.max(initial=0))) >= 2**31:
            raise ValueError(f"{path} holds the number {highest}: renumber its labels, below 2147483648")
        place = as_told_beside(place, paths[0])
        instances = self.instances or (self._has_one_label and int(label.max(initial=0)) > 1)
        return LabelledImage(case, finite(single(image)), label.astype(np.int32), place.spacing, instances)

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self.load(case) for case in self.cases)


def holds_data_set(folder: str | Path) -> bool:
    """Return whether a folder holds a data set, whole or not."""
    return not why_no_folder(folder) and os.path.lexists(Path(folder) / "dataset.json")


def read_about(folder: Path) -> dict[str, Any]:
    """Return what ``dataset.json`` tells; see `RawDataset` for what it raises."""
    path = folder / "dataset.json"
    if why := why_no_folder(folder):
        raise FileNotFoundError(f"there is no data set {folder}: {why}")
    if not holds_data_set(folder):
        raise FileNotFoundError(f"{folder} is no nnU-Net v2 raw data set: it has no dataset.json")
    about = read_json(path)
    if about.get("channel_names") is None and "modality" in about:  # as nnU-Net called them before
        about["channel_names"] = about.pop("modality")
    labels = about.get("labels")
    if not isinstance(labels, dict) or "file_ending" not in about or _has_names_by_number(labels):
        raise ValueError(
            f"{path} is not of nnU-Net v2, which tells file_ending and labels by name: convert it first, from nnU-Net "
            f"v1 with nnUNetv2_convert_old_nnUNet_dataset"
        )
    ending, channels, description = (about.get(key) for key in ("file_ending", "channel_names", "description"))
    if not (isinstance(ending, str) and re.fullmatch(r"(\.[A-Za-z0-9]+)+", ending)):
        raise ValueError(f"{path} says that its files end in {ending!r:.60}: correct it to an ending such as '.nii.gz'")
    numbers = [n for value in about["labels"].values() for n in (value if isinstance(value, list) else [value])]
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**31 for n in numbers):
        raise ValueError(f"{path} has labels that are no numbers from 0, {about['labels']!r:.60}: correct them")
    if not isinstance(channels, dict | None) or not isinstance(description, str | None):
        raise ValueError(f"{path} is damaged (channel_names must be a mapping, description a text): correct it")
    return {key: value for key, value in about.items() if value is not None}


def _has_names_by_number(labels: Mapping[str, Any]) -> bool:
    """Return whether labels are as nnU-Net v1 told them."""
    is_turned = all(isinstance(name, str) and not name.isdigit() for name in labels.values())
    return bool(labels) and is_turned and all(number.isdigit() for number in labels)


def datasets_below(folder: str | Path) -> list[RawDataset]:
    """Return every data set in the folders below ``folder``, by name.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If one of them is damaged.
    """
    if why := why_no_folder(folder):
        raise FileNotFoundError(f"there is no folder {folder}: {why}")
    return [RawDataset(path.parent) for path in sorted(Path(folder).glob("*/dataset.json"))]


def datasets_at(path: str | Path, names: Collection[str] = ()) -> list[RawDataset]:
    """Return the data set that a folder is, or those below it; with names only those that are `named`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, no data set in it, or none of one of the names.
    ValueError
        If one of them is damaged.
    """
    found = [RawDataset(path)] if holds_data_set(path) else datasets_below(path)
    if not found:
        raise FileNotFoundError(f"{path} holds no data set: name a folder of nnU-Net v2 raw data sets")
    return named(names, found) if names else found


def names_of(folder: str) -> set[str]:
    """Return the names of a data set: its folder's, and what stands in that behind ``DatasetNNN_``."""
    return {folder, re.sub(r"^Dataset\d+_", "", folder)}


def named(names: Iterable[str], datasets: Iterable[RawDataset]) -> list[RawDataset]:
    """Return the data sets of some names, see `names_of`.

    Raises
    ------
    FileNotFoundError
        If none has one of the names.
    """
    names, own_names = set(names), {dataset: names_of(dataset.folder.name) for dataset in datasets}
    unknown = ", ".join(sorted(names.difference(*own_names.values())))
    if unknown:
        there = ", ".join(dataset.folder.name for dataset in own_names) or "none"
        raise FileNotFoundError(f"there is no data set {unknown}: there are {there}; name one of them, or their folder")
    return [dataset for dataset, own in own_names.items() if own & names]


def all_but(left_out: Iterable[str], datasets: Iterable[RawDataset]) -> list[RawDataset]:
    """Return the data sets without those that are `named`, which a training is not to see."""
    datasets = list(datasets)
    folders = {dataset.folder for dataset in named(left_out, datasets)}
    return [dataset for dataset in datasets if dataset.folder not in folders]


def image_of(paths: Sequence[Path]) -> tuple[Picture, NDArray[Any]]:
    """Return the place that an image of one or several files lies in, and its channels, (C, Y, X) or (C, Z, Y, X).

    Raises
    ------
    ValueError
        If a file is damaged, or does not lie where the first one does.
    """
    first = read(paths[0])
    if len(paths) == 1:
        return first, first.channels()
    others = [laid_on(read(path), first, name=str(path), of=str(paths[0])) for path in paths[1:]]
    return first, np.stack([np.asarray(first.data), *others])


def as_told_beside(picture: Picture, path: Path) -> Picture:
    """Return a TIFF volume with the spacing that ``CASE.json`` beside it tells, as nnU-Net has it; else as it is.

    Parameters
    ----------
    picture : Picture
    path : path
        Of its first channel, ``CASE_0000.tif``.

    Raises
    ------
    ValueError
        If the ``.json`` file is damaged.
    """
    beside = path.with_name(re.sub(r"_[0-9]{4}\.[^.]+$", ".json", path.name))
    if picture.spatial_axes != "ZYX" or not path.name.lower().endswith(TIFF) or not beside.is_file():
        return picture
    try:
        spacing = checked_spacing(read_json(beside)["spacing"], 3)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{beside} does not tell the spacing of a volume: correct or remove it") from error
    if picture.unit != PIXEL and not np.allclose(picture.spacing, spacing, rtol=1e-3, atol=0):
        here = " x ".join(f"{mm:.4g}" for mm in spacing)
        tell(f"{path} tells a spacing of {picture.told(picture.spacing)}, {beside.name} {here} mm: the latter counts")
    return replace(picture, spacing=spacing, unit="mm")

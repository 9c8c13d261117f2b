"""Import from other nnU-Net v2 raw data sets, and export of a clean copy."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.labelled import fingerprint, smallest
from napari_probseg.dataset.provenance import Entry
from napari_probseg.dataset.raw import as_told_beside, image_of, read_about
from napari_probseg.intensities import finite
from napari_probseg.io import Picture, read, write
from napari_probseg.io.labels import read_labels
from napari_probseg.io.notice import tell
from napari_probseg.io.paths import why_no_folder
from napari_probseg.progress import Fate, Outcome, counted


@dataclass(frozen=True)
class _SavedBefore:
    """A session of another dataset."""

    path: Path

    def save(self, path: Path, /) -> None:
        shutil.copyfile(self.path, path)


def create_like(folder: str | Path, source: Collection) -> Collection:
    """Make an empty dataset for images of the same kind as those of another.

    Raises
    ------
    FileExistsError, ValueError, OSError
        As `Collection.create`; also if the labels of the other are not single numbers.
    """
    numbers = _numbers(source)
    return Collection.create(
        folder,
        [numbers[number] for number in sorted(numbers)],
        channels=source.channels,
        ending=source.ending,
        description=read_about(source.folder).get("description", ""),
    )


def take_in(collection: Collection, source: Collection, *, kinds: Mapping[int, str] | None = None) -> Iterator[Outcome]:
    """Add all images of another data set with their labels and geometry; those that are there already stay.

    Parameters
    ----------
    collection, source : Collection
    kinds : mapping from int to str, optional
        The label that each number of the source means; by the source's own names if absent.

    Yields
    ------
    Outcome
        After each image. One that is damaged, or does not fit, is named and left out.

    Raises
    ------
    ValueError
        If the labels of the two cannot be brought together.
    OSError
        If the dataset cannot be written.
    """
    given = _kinds(collection, source) if kinds is None else kinds
    for name in source.cases:
        try:
            entry = source[name]
            picture = _picture_of(entry)
            labels = read_labels(entry.label, picture, of=entry.images[0])
            picture = as_told_beside(picture, entry.images[0])
            known = fingerprint(picture.case().read())
        except (ValueError, TypeError, OSError) as error:
            yield Outcome(name, Fate.FAILED, str(error))
            continue
        there = collection.find(known)
        if there is not None:
            yield Outcome(name, Fate.THERE, f"as {there}")
            continue
        meant = given
        if source.instances and given:  # all its numbers are objects of one kind
            meant = dict.fromkeys(np.unique(labels[labels > 0]).tolist(), next(iter(given.values())))
        provenance = {"imported_from": source.folder.resolve(), "told_there": entry.metadata()}
        session = entry.provenance.with_suffix(".npz") if entry.provenance else None
        try:
            added = collection.add(
                name,
                picture.data,
                labels,
                like=picture,
                kinds=meant,
                provenance=provenance,
                session=_SavedBefore(session) if session and session.is_file() else None,
            )
        except (ValueError, TypeError) as error:
            yield Outcome(name, Fate.FAILED, str(error))
        else:
            yield Outcome(name, Fate.DONE, "held out" if added.held_out else "for training")


def export(collection: Collection, folder: str | Path) -> Path:
    """Write a copy for nnU-Net: images and labels alone, without what is remembered of how they were made.

    What nnU-Net insists on is seen to: numbers of labels that leave some out become consecutive ones, 0 is called
    ``background``, labels lie in the voxels of their image, and NaN becomes the least number of it.
    nnU-Net also trains on the dataset as it is, and ignores what lies beside. Labels that tell objects apart become
    the one kind that nnU-Net can learn.

    Parameters
    ----------
    collection : Collection
    folder : path
        New or empty, with a name such as ``Dataset700_Cells``.

    Returns
    -------
    path
        The folder; until all is written, it is not there.

    Raises
    ------
    ValueError
        If nnU-Net would not take a folder of that name, or what is in it, or there is no image yet.
    FileExistsError
        If it is not empty.
    OSError
        If it cannot be written.
    """
    folder = Path(folder)
    _refuse_export(collection, folder)
    numbers = _consecutive(collection)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    for half in folder.parent.glob(f".{folder.name}.*.part"):  # of a program that was killed while it wrote
        shutil.rmtree(half, ignore_errors=True)
    try:
        for sub in ("imagesTr", "labelsTr"):
            (part / sub).mkdir(parents=True)
        for entry in collection.entries:
            _copy(entry, part, numbers, collection)
        about = json.dumps(_about(collection, numbers), indent=1)
        (part / "dataset.json").write_text(about, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{folder} could not be written ({reason}): free space or choose another place") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _refuse_export(collection: Collection, folder: Path) -> None:
    """Raise, before anything is copied, if nnU-Net would not take a data set, or not in this folder."""
    if not re.fullmatch(r"Dataset\d{3}_\w[\w-]*", folder.name):
        raise ValueError(
            f"nnU-Net wants a folder named like Dataset700_Cells, got {folder.name!r}: choose another name"
        )
    if not collection.cases:
        raise ValueError(f"{collection.folder} has no image yet: add one first")
    if why := why_no_folder(folder.parent, or_new=True):
        raise OSError(f"{folder} could not be written: {why}")
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty: choose a new folder")
    regions = [value for name, value in collection.labels.items() if name != "ignore" and _numbers_of(value) != {0}]
    order = read_about(collection.folder).get("regions_class_order")
    is_order = isinstance(order, list) and all(isinstance(n, int) for n in order) and len(order) == len(regions)
    if any(isinstance(value, list) for value in regions) and not is_order:
        raise ValueError(
            f"{collection.folder / 'dataset.json'} has labels that are regions of several numbers, for which nnU-Net "
            f"wants regions_class_order, {len(regions)} numbers: correct it"
        )


def _consecutive(collection: Collection) -> dict[int, int]:
    """Return the number that nnU-Net is to know each by: 0, 1, 2, ..., of which ``ignore`` must be the last."""
    last = collection.labels.get("ignore")
    known = {0} | {int(n) for numbers in collection.labels.values() for n in np.ravel(numbers)}
    return {number: new for new, number in enumerate(sorted(known, key=lambda n: (n == last, n)))}


def _numbers_of(label: int | Sequence[int]) -> set[int]:
    """Return the numbers of a label, of which a region has several."""
    return set(np.ravel(label).tolist())


def _about(collection: Collection, numbers: Mapping[int, int]) -> dict[str, Any]:
    about = read_about(collection.folder)
    own = ("name", "description", "licence", "license", "reference", "overwrite_image_reader_writer")
    return {
        **{key: about[key] for key in own if key in about and not (key == "description" and collection.instances)},
        "channel_names": about.get("channel_names", {"0": "image"}),
        "labels": {
            "background": 0,
            **{
                name: [numbers[int(n)] for n in value] if isinstance(value, list) else numbers[value]
                for name, value in collection.labels.items()
                if _numbers_of(value) != {0}
            },
        },
        **{
            key: [numbers.get(n, n) for n in about[key]]
            for key in ("regions_class_order",)
            if isinstance(about.get(key), list)
        },
        "numTraining": len(collection.cases),
        "file_ending": collection.ending,
    }


def _copy(entry: Entry, folder: Path, numbers: Mapping[int, int], collection: Collection) -> None:
    """Copy the files of a case, made anew where nnU-Net wants them otherwise, and those that tell it the spacing."""
    picture, channels = image_of(entry.images)
    if len(channels) != len(collection.channels):
        raise ValueError(
            f"{entry.images[0]} has {counted(len(channels), 'channel')}, and dataset.json names "
            f"{len(collection.channels)} ({', '.join(collection.channels)}): correct the one or the other"
        )
    values = read_labels(entry.label, picture, of=entry.images[0])
    renumbered = (values > 0).astype(np.uint8) if collection.instances else _renumbered(entry, values, numbers)
    stored = np.asarray(read(entry.label).data)
    if stored.shape == renumbered.shape and (stored == renumbered).all():
        shutil.copyfile(entry.label, folder / "labelsTr" / entry.label.name)
    else:
        write(folder / "labelsTr" / entry.label.name, renumbered, like=picture)
    for path in entry.images:
        _copy_image(path, folder / "imagesTr" / path.name)
    for sub in ("imagesTr", "labelsTr"):
        spacing = entry.label.parents[1] / sub / f"{entry.name}.json"
        if spacing.is_file():
            shutil.copyfile(spacing, folder / sub / spacing.name)


def _copy_image(path: Path, copy: Path) -> None:
    """Copy the file of an image; what is no finite number in it becomes one."""
    picture = read(path)
    channels = picture.channels()
    if channels.dtype.kind != "f" or np.isfinite(channels).all():
        shutil.copyfile(path, copy)
        return
    tell(f"{path} holds NaN or infinity, which nnU-Net refuses: they become the least and the greatest number of it")
    axis = picture.channel_axis
    values = finite(channels)
    write(copy, values[0] if axis is None else np.moveaxis(values, 0, axis), like=picture, labels=False)


def _renumbered(entry: Entry, values: NDArray[Any], numbers: Mapping[int, int]) -> NDArray[Any]:
    """Return labels in other numbers."""
    found, where = np.unique(values, return_inverse=True)
    unknown = [n for n in found.tolist() if n not in numbers]
    if unknown:
        ids = ", or write 'one id per object' into its description if numbers tell objects apart"
        raise ValueError(
            f"{entry.label} holds the number {unknown[0]}, which dataset.json gives no name: add one"
            f"{ids if len(numbers) == 2 else ''}"
        )
    return smallest(np.array([numbers[n] for n in found.tolist()])[where].reshape(values.shape))


def _kinds(collection: Collection, source: Collection) -> dict[int, str] | None:
    """Return what the numbers of the source mean here; None if they mean the same."""
    if collection.instances and not source.instances:
        raise ValueError(
            f"{collection.folder} numbers single objects, {source.folder} kinds of them: take it into another dataset"
        )
    if (source.labels, source.instances) == (collection.labels, collection.instances):
        return None
    numbers = _numbers(source)
    return None if collection.instances else numbers


def _numbers(source: Collection) -> dict[int, str]:
    """Return the name of each number above 0.

    Raises
    ------
    ValueError
        If a label is several numbers, as nnU-Net's regions are.
    """
    if not all(isinstance(number, int) for number in source.labels.values()):
        raise ValueError(
            f"the labels of {source.folder} are regions of several numbers ({source.labels}): they can only go to a "
            f"dataset with the same ones, or be named with --label NAME=NUMBER"
        )
    return {number: name for name, number in source.labels.items() if number}


def _picture_of(entry: Entry) -> Picture:
    """Return the image of a case with all its channels, in memory."""
    place, channels = image_of(entry.images)
    if len(channels) == 1:
        return replace(place, data=channels[0], axes=place.spatial_axes, colours=None)
    return replace(place, data=channels, axes=f"C{place.spatial_axes}", colours=None)

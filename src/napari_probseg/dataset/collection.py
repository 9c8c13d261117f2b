"""Data set in the nnU-Net v2 raw format that grows by finished images.

Beside what nnU-Net reads, and ignored by it, there are ``provenance/CASE/``, which tells of every version of a case
how it was made and keeps the earlier labels, and a part of ``dataset.json``, which tells which cases are held out.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_probseg.dataset.labelled import Finished, fingerprint, numbered
from napari_probseg.dataset.provenance import KEY, VERSION, Entry, Note, as_json, circumstances, remembered
from napari_probseg.dataset.raw import RawDataset, as_told_beside, read_about
from napari_probseg.dataset.split import held_out_of
from napari_probseg.io import NIFTI, TIFF, Picture, read, write
from napari_probseg.io.atomic import (
    UnsettledError,
    begun,
    is_unsettled,
    locked,
    make_folder,
    reason_of,
    settle,
    together,
    write_whole,
)
from napari_probseg.io.labels import refuse_other_place
from napari_probseg.io.paths import why_no_folder
from napari_probseg.progress import counted

ENDINGS = (*NIFTI, *TIFF, ".png")
ANEW = "free space or make it writable, then try again"
_LAST = ("labelsTr", "dataset.json")  # a label without its image, or a number without its files, is never seen


class Savable(Protocol):
    """What writes itself to a file, as a `Session` does."""

    def save(self, path: Path, /) -> None:
        """Write everything to ``path``."""


class Collection(RawDataset):
    """A data set in the nnU-Net v2 raw format that can be added to, by several programs at once.

    Any nnU-Net v2 raw data set can be opened as one. Opening brings to its end what a crash interrupted.

    Parameters
    ----------
    folder : path

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no such data set, or one of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self._notes: dict[str, Note] = {}
        if not why_no_folder(folder) and is_unsettled(Path(folder)):
            with locked(Path(folder)):
                settle(Path(folder), last=_LAST)
        self._open(folder)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        labels: Sequence[str] = ("object",),
        *,
        channels: Sequence[str] = ("image",),
        ending: str = ".nii.gz",
        description: str = "",
    ) -> Collection:
        """Make an empty one.

        Parameters
        ----------
        folder : path
            New or empty.
        labels : sequence of str
            Their names, numbered 1, 2, ...; background is 0.
        channels : sequence of str
            What each image channel is.
        ending : str
            Of all files: ``.nii.gz``, ``.nii``, ``.tif``, ``.tiff`` or ``.png``.
        description : str
            Of what is in it; where it holds ``one id per``, labels number single objects.

        Raises
        ------
        FileExistsError
            If the folder is not empty.
        ValueError
            If the names are not one or more different ones, or the ending is unknown.
        OSError
            If it cannot be written.
        """
        folder = Path(folder)
        names = {"background": 0, **{name: i for i, name in enumerate(labels, 1)}}
        if len(names) != len(labels) + 1 or not labels or not channels or not all((*labels, *channels)):
            raise ValueError(f"a data set needs channels and labels of different names, got {channels} and {labels}")
        if ending not in ENDINGS:
            raise ValueError(f"the files of a data set can end in {', '.join(ENDINGS)}, got {ending!r}")
        about = {
            "name": folder.name,
            **({"description": description} if description else {}),
            "channel_names": {str(i): name for i, name in enumerate(channels)},
            "labels": names,
            "numTraining": 0,
            "file_ending": ending,
            KEY: {"version": VERSION, "cases": {}},
        }
        _begin(folder, as_json(about))
        return cls(folder)

    # What there is ------------------------------------------------------------------------------------------------

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All cases that are whole, by name."""
        return tuple(self[name] for name in self.cases)

    def __getitem__(self, name: str) -> Entry:
        """Return one case.

        Raises
        ------
        KeyError
            If there is no case of that name.
        """
        if name not in self._held_out:
            raise KeyError(f"{self.folder} has no image {name!r}: it has {', '.join(self.cases) or 'none yet'}")
        about = self.folder / "provenance" / name / f"{self._version(name):04d}.json"
        return Entry(
            name=name,
            held_out=self._held_out[name],
            images=tuple(self._images[name]),
            label=self._label(name),
            provenance=about if about.is_file() else None,
            earlier=tuple(sorted(about.parent.glob(f"[0-9][0-9][0-9][0-9]{self.ending}"))),
        )

    def split(self, part: str) -> list[str]:
        """Return the names of the ``"training"`` part or of the ``"test"`` part, which is held out.

        One case in five is held out. Which ones, a hash of the names decides; it is remembered, and stays.
        """
        return [name for name in self.cases if self._held_out[name] == {"training": False, "test": True}[part]]

    def find(self, fingerprint: str) -> str | None:
        """Return the name of the case with an image, told by its `finished.fingerprint`; None if there is none.

        Raises
        ------
        ValueError, OSError
            If an image of another program, which has to be read to be known, is damaged.
        """
        self._survey()
        return next((name for name in self.cases if self._notes[name].fingerprint == fingerprint), None)

    # Adding -------------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        image: Any,
        labels: NDArray[Any],
        *,
        like: Picture | None = None,
        spacing: Sequence[float] | None = None,
        channel_axis: int | None = None,
        kinds: Mapping[int, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        session: Savable | None = None,
    ) -> Entry:
        """Add a finished image, or new labels of an image that is there; the labels before them are kept.

        Should the program end in the midst of it, however it ends, the image is there with all its files or not at
        all. The first time in a data set of another program, all its images are read, to know them again.

        Parameters
        ----------
        name : str
            Letters, digits, ``_``, ``-`` and ``.``.
        image : array
            (Y, X) or (Z, Y, X), with one more axis for channels.
        labels : integer array of the image's spatial shape
            The numbers of ``dataset.json``, 0 is background; or others that ``kinds`` explains.
        like : Picture, optional
            The geometry; its axes name those of the image, which may also be a single channel of it.
        spacing : sequence of float, optional
            In mm, without ``like``.
        channel_axis : int, optional
            Of the image, without ``like``.
        kinds : mapping from int to str, optional
            The label that each number above 0 in ``labels`` means, where these number objects.
        provenance : mapping, optional
            What to remember of how the labels were made, as JSON can hold it: choices, the model's name.
        session : Session, optional
            Strokes and choices.

        Raises
        ------
        TypeError
            If the image is none of real numbers.
        ValueError
            If the parts do not fit together, or not to what is there already.
        OSError
            If it cannot be written, or another program is writing for too long. Nothing is changed then.
        """
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"an image's name is of letters, digits, '_', '-' and '.', got {name!r}: choose another")
        finished = Finished.of(image, labels, like=like, spacing=spacing, channel_axis=channel_axis)
        about = as_json({**(provenance or {}), "kinds": dict(kinds or {}), **circumstances(finished)})
        self._survey()  # here already, because it can take long, and others need not wait for it
        with self._alone(f"{name} could not be added"):
            self._survey()
            self._refuse_misfit(name, finished)
            numbers = numbered(finished.labels, kinds, self.labels, any_number=self.instances)
            with together(self.folder, last=_LAST) as staged:
                self._write(staged, name, finished, numbers, about, session)
        return self[name]

    def add_label(self, name: str) -> int:
        """Give one more kind of object a number, and return that; the number it has already if it is known.

        Raises
        ------
        ValueError
            If the labels of the data set allow no further one.
        OSError
            If it cannot be written.
        """
        with self._alone(f"the label {name!r} could not be added"):
            if name not in self.labels:
                if not name or "ignore" in self.labels or not all(isinstance(v, int) for v in self.labels.values()):
                    raise ValueError(
                        f"{name!r} cannot follow on the labels {self.labels}: a name, after labels that are single "
                        f"numbers without 'ignore', is needed"
                    )
                labels = {**self.labels, name: max(self.labels.values()) + 1}
                write_whole(self.folder / "dataset.json", as_json({**read_about(self.folder), "labels": labels}))
        return self.labels[name]

    @contextmanager
    def _alone(self, failure: str) -> Iterator[None]:
        """Keep other writers out while something is changed, and know what they did before and what was done."""
        try:
            with locked(self.folder):
                settle(self.folder, last=_LAST)
                self._open(self.folder)
                yield
                self._open(self.folder)
        except (TimeoutError, UnsettledError):
            raise
        except OSError as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            advice = "choose a shorter name" if cause.errno == errno.ENAMETOOLONG else ANEW
            raise OSError(f"{failure} to {self.folder} ({reason_of(error)}): {advice}") from error

    # The folder ---------------------------------------------------------------------------------------------------

    def _open(self, folder: str | Path) -> None:
        """Read the state of the folder."""
        super().__init__(folder)
        about = read_about(self.folder)
        if "dataset" in about:
            raise ValueError(f"{folder} lists files that lie elsewhere: copy them to its imagesTr and labelsTr first")
        self.channels = tuple(about.get("channel_names", {"0": "image"}).values())
        self._images = _images_below(self.folder / "imagesTr", self.ending)
        self.cases = [name for name in self.cases if self._is_whole(name)]
        noted = remembered(self.folder, about)
        self._notes |= {name: Note(case["image"], tuple(case["shape"])) for name, case in noted.items()}
        self._held_out = held_out_of(self.cases, {name: case["held_out"] for name, case in noted.items()})

    def _label(self, name: str) -> Path:
        return self.folder / "labelsTr" / f"{name}{self.ending}"

    def _is_whole(self, name: str) -> bool:
        n_files = len(self._images.get(name, ()))
        in_one = n_files == 1 and self.ending not in NIFTI  # colours in one file
        return n_files == len(self.channels) or in_one

    def _version(self, name: str) -> int:
        """Return the number of the current label; 0 if other programs wrote it."""
        found = (self.folder / "provenance" / name).glob("[0-9][0-9][0-9][0-9].json")
        return max((int(path.stem) for path in found), default=0)

    def _survey(self) -> None:
        """Note what is not noted yet of the images that are there."""
        for name in self.cases:
            if name not in self._notes:
                case = self.load(name)
                self._notes[name] = Note(fingerprint(case.image), case.label.shape)

    # Checking and writing -----------------------------------------------------------------------------------------

    def _refuse_misfit(self, name: str, finished: Finished) -> None:
        """Raise if an image does not belong into this data set under this name."""
        if len(finished.channels) != len(self.channels):
            raise ValueError(
                f"the images of {self.folder} have {counted(len(self.channels), 'channel')} "
                f"({', '.join(self.channels)}), this one has {len(finished.channels)}: add it to a data set of its kind"
            )
        other = next((note for note in self._notes.values() if len(note.shape) != len(finished.shape)), None)
        if other is not None:
            raise ValueError(
                f"the images of {self.folder} are {len(other.shape)}-D, this one is {finished.shape}: add it to a "
                f"data set of its kind"
            )
        if name not in self.cases and (name in self._images or self._label(name).exists()):
            raise ValueError(f"{self.folder} has only a part of an image {name!r}: complete or remove its files")
        if name in self.cases and self._notes[name].fingerprint != finished.fingerprint:
            raise ValueError(f"{self.folder} has another image {name!r} already: choose another name")
        same = self.find(finished.fingerprint)
        if same not in (None, name):
            raise ValueError(f"{self.folder} has this image already, as {same!r}: add the labels under that name")

    def _write(
        self,
        staged: Path,
        name: str,
        finished: Finished,
        numbers: NDArray[Any],
        provenance: bytes,
        session: Savable | None,
    ) -> None:
        """Write all files of a case below ``staged``."""
        number, like = self._version(name), finished.like
        below = staged / "provenance" / name
        make_folder(below)
        if name in self.cases:
            like = self._place_of(name, like)
            shutil.copyfile(self._label(name), below / f"{number:04d}{self.ending}")
        else:
            for i, channel in enumerate(finished.channels):
                write(staged / "imagesTr" / f"{name}_{i:04d}{self.ending}", channel, like=like, labels=False)
        write(staged / "labelsTr" / f"{name}{self.ending}", numbers, like=like, labels=True)
        if self.ending in TIFF and numbers.ndim == 3:  # where nnU-Net looks for the spacing of a TIFF volume
            for part in ("imagesTr", "labelsTr"):
                write_whole(staged / part / f"{name}.json", as_json({"spacing": like.spacing}))
        write_whole(below / f"{number + 1:04d}.json", provenance)
        if session is not None:
            session.save(below / f"{number + 1:04d}.npz")
        notes = {**self._notes, name: Note(finished.fingerprint, finished.shape)}
        held_out = held_out_of([*self.cases, *([] if name in self.cases else [name])], self._held_out)
        cases = {
            case: {"held_out": held_out[case], "image": notes[case].fingerprint, "shape": notes[case].shape}
            for case in sorted(held_out)
        }
        about = {**read_about(self.folder), "numTraining": len(cases), KEY: {"version": VERSION, "cases": cases}}
        write_whole(staged / "dataset.json", as_json(about))

    def _place_of(self, name: str, given: Picture) -> Picture:
        """Return the geometry of an image that is there, which new labels of it must have."""
        there = as_told_beside(read(self._images[name][0]), self._images[name][0])
        if "pixel" not in (there.unit, given.unit) and not np.allclose(there.spacing, given.spacing, rtol=1e-3):
            raise ValueError(
                f"{name} is in {self.folder} with a spacing of {there.told(there.spacing)}, now it came with "
                f"{there.told(given.spacing)}: correct the one or the other"
            )
        refuse_other_place(given, there, name=f"the image {name} that came", of=str(self._images[name][0]))
        return there


def _images_below(folder: Path, ending: str) -> dict[str, list[Path]]:
    """Return the image files of each case, channel by channel."""
    found: dict[str, list[Path]] = {}
    pattern = re.compile(rf"(.+)_[0-9]{{4}}{re.escape(ending)}")
    for path in sorted(folder.glob("*")):
        if match := pattern.fullmatch(path.name):
            found.setdefault(match[1], []).append(path)
    return found


def _begin(folder: Path, about: bytes) -> None:
    """Write the first file of a data set into a folder that is new or empty."""
    if why := why_no_folder(folder, or_new=True):
        raise OSError(f"no data set can be made in {folder}: {why}")
    with begun(folder):
        try:
            make_folder(folder)
            with locked(folder):
                if is_empty := all(path.name.startswith(".") for path in folder.iterdir()):
                    write_whole(folder / "dataset.json", about)
        except OSError as error:
            raise OSError(f"no data set can be made in {folder} ({reason_of(error)}): choose another place") from error
        if not is_empty:
            raise FileExistsError(f"{folder} is not empty: choose a new folder, or open the data set in it")

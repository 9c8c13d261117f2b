"""Image files of a folder, and which of them are further channels of others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from napari_probseg.io import READABLE
from napari_probseg.io.paths import why_no_folder

OBJECTS = "_objects"  # behind the name of an image: the file of its finished objects
ASIDE = "_before_"  # behind that, of such a file in whose place another one came


def images_in(folder: str | Path) -> tuple[Path, ...]:
    """Return the image files of a folder, by name; those of finished objects are none.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if why := why_no_folder(folder):
        raise FileNotFoundError(f"there is no folder {folder}: {why}")
    readable = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(READABLE) and path.is_file()]
    found = [path for path in readable if not is_of_objects(path)]
    if not found:
        raise FileNotFoundError(f"{folder} holds no images: choose a folder of {', '.join(READABLE)} files")
    return tuple(found)


def stem_of(path: Path) -> str:
    """Return the name of an image file without its ending: ``scan`` of ``scan.nii.gz`` and of ``scan.ome.tif``."""
    return re.sub(r"(\.ome)?\.[^.]*(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def is_of_objects(path: Path) -> bool:
    """Return whether a file holds the finished objects of an image, by its name."""
    return stem_of(path).partition(ASIDE)[0].endswith(OBJECTS)


def in_reading_order(paths: Iterable[Path]) -> list[Path]:
    """Return paths by name as people order them: ``cell2`` before ``cell10``."""

    def key(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name.lower())]

    return sorted(paths, key=key)


@dataclass(frozen=True)
class Channels:
    """How the files of further channels are called after the file of an image.

    Parameters
    ----------
    endings : sequence of (str, str)
        For each: how the name of an image ends, and how that of its channel ends in its place.
    """

    endings: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, image: Path, channels: Iterable[Path]) -> Channels:
        """Return how the channels of one image are called."""
        pairs = []
        for channel in channels:
            letters = zip(image.name, channel.name, strict=False)
            n = len(list(takewhile(lambda pair: pair[0] == pair[1], letters)))
            pairs.append((image.name[n:], channel.name[n:]))
        return cls(tuple(pairs))

    def of_image(self, image: Path) -> list[Path] | None:
        """Return the files of the channels of another image; None if it is no image that has them."""
        found = []
        for own, further in self.endings:
            channel = image.with_name(image.name[: len(image.name) - len(own)] + further)
            if not image.name.endswith(own) or channel == image or not channel.is_file():
                return None
            found.append(channel)
        return found

    def images(self, paths: Iterable[Path]) -> list[Path]:
        """Return those of some files that are images with all their channels, and no channels themselves."""
        paths = list(paths)
        found = {path: channels for path in paths if (channels := self.of_image(path)) is not None}
        further = {channel for channels in found.values() for channel in channels}
        return [path for path in paths if path in found and path not in further]

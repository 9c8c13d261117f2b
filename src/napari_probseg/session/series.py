"""Series of images that are segmented one after the other: which is next, what was done, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from napari_probseg.io.folder import Channels, images_in, in_reading_order
from napari_probseg.session.beside import objects_beside


@dataclass(frozen=True)
class Done:
    """An image that was finished.

    Parameters
    ----------
    path : path
    n_objects : int
    seconds : float
        Of work, without the pauses.
    """

    path: Path
    n_objects: int
    seconds: float


@dataclass(frozen=True)
class Series:
    """The images of a folder in the order in which they are segmented, and what was done of them.

    Parameters
    ----------
    images : tuple of path
    done : tuple of Done
        Finished since the series began, the latest last.
    before : frozenset of path
        Finished before that.
    """

    images: tuple[Path, ...] = ()
    done: tuple[Done, ...] = ()
    before: frozenset[Path] = frozenset()

    @classmethod
    def of(cls, image: Path, channels: Iterable[Path] = (), *, before: Iterable[Path] = ()) -> Series:
        """Return the series that an image is of: the images of its folder, by name.

        Files of further channels are none.

        Parameters
        ----------
        image : path
        channels : iterable of path
            The files of its further channels, from whose names those of the others follow.
        before : iterable of path
            Images that were finished earlier, beside those that have a file of objects.
        """
        named = Channels.of(image, channels)
        images = tuple(in_reading_order(named.images(images_in(image.parent))))
        finished = {path for path in images if objects_beside(path).is_file()}
        return cls(images, before=frozenset(finished.union(before).intersection(images)))

    def with_done(self, done: Done) -> Series:
        """Return the series with one more image finished; one that was finished before took longer, then."""
        earlier = self.found(done.path)
        seconds = done.seconds + (0.0 if earlier is None else earlier.seconds)
        others = tuple(one for one in self.done if one.path != done.path)
        return replace(self, done=(*others, replace(done, seconds=seconds)))

    def without(self, path: Path) -> Series:
        """Return the series without a file that turned out to be no image."""
        return replace(self, images=tuple(image for image in self.images if image != path))

    def found(self, image: Path | None) -> Done | None:
        """Return what was done of an image since the series began; None if it was not finished."""
        return next((one for one in self.done if one.path == image), None)

    def is_done(self, image: Path) -> bool:
        """Return whether an image was finished, now or earlier."""
        return image in self.before or self.found(image) is not None

    def next_after(self, image: Path) -> Path | None:
        """Return the first image behind another that is not finished, from the beginning behind the last; or None."""
        start = self.images.index(image) + 1 if image in self.images else 0
        ahead = (*self.images[start:], *self.images[:start])
        return next((path for path in ahead if path != image and not self.is_done(path)), None)

    def before_that(self, image: Path | None) -> Path | None:
        """Return the image that was finished before another one, or last if that is not finished; None if none was.

        Those of before the series began come first, in their order.
        """
        now = [one.path for one in self.done]
        paths = [*(path for path in self.images if path in self.before and path not in now), *now]
        earlier = paths[: paths.index(image)] if image in paths else paths
        return earlier[-1] if earlier else None

    @property
    def n_done(self) -> int:
        """How many of its images are finished."""
        return sum(self.is_done(path) for path in self.images)

    @property
    def n_objects(self) -> int:
        """How many objects were finished since the series began."""
        return sum(one.n_objects for one in self.done)

    @property
    def seconds_per_image(self) -> float:
        """How long an image took since the series began, on average; 0 if none is finished."""
        return sum(one.seconds for one in self.done) / max(1, len(self.done))

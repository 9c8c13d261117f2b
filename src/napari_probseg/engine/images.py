"""Images in two processes: both map the same file, or one reads for the other, which may be on another machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import finalize, ref

import numpy as np
from numpy.typing import NDArray

from napari_probseg.intensities import unmasked
from napari_probseg.io.failures import reason_of
from napari_probseg.io.mapped import OnDisk, memory_map_of

MAX_SENT_WHOLE = 2**28  # bytes of an image that is sent at once; of larger ones the regions that are looked at
MAX_SHARE_OF_FREE = 0.5  # of the room where an image is copied to
_IN_MEMORY = Path("/dev/shm")  # a folder in memory, where there is one
_PREFIX = "napari-probseg-engine-"


@dataclass(frozen=True)
class InFile:
    """Where an image lies in a file, which another process maps.

    Parameters
    ----------
    path : str
    offset : int
        Of the first element, in bytes.
    dtype : str
    shape, strides : tuple of int
        ``strides`` in bytes.
    scaling : (float, float), optional
        Slope and intercept of an `OnDisk`; the numbers are intensities if absent.
    """

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    scaling: tuple[float, float] | None = None

    def open(self, _: Any = None) -> Any:
        """Return the image, mapped."""
        file = np.memmap(self.path, dtype=np.uint8, mode="r")
        dtype = np.dtype(self.dtype)
        image: NDArray[Any] = np.ndarray(self.shape, dtype, buffer=file, offset=self.offset, strides=self.strides)
        return image if self.scaling is None else OnDisk(image, *self.scaling)


@dataclass(frozen=True)
class OnDemand:
    """An image of which the process that has it reads the regions that are asked for.

    Parameters
    ----------
    key : int
        What that process calls it.
    dtype : str
    shape : tuple of int
    is_whole : bool
        Whether all of it is asked for, once.
    """

    key: int
    dtype: str
    shape: tuple[int, ...]
    is_whole: bool = False

    def open(self, read: Callable[[int, Any], NDArray[Any]]) -> Any:
        """Return something that slices like an array, by asking for regions, or once for all of it."""
        return _Asked(self, read)


class _Asked:
    """Slices like an array; each slice is asked for, or the whole when a first one is needed."""

    def __init__(self, address: OnDemand, read: Callable[[int, Any], NDArray[Any]]) -> None:
        self._address, self._read = address, read
        self._whole: NDArray[Any] | None = None
        self.shape, self.dtype, self.ndim = address.shape, np.dtype(address.dtype), len(address.shape)

    def __getitem__(self, where: Any) -> NDArray[Any]:
        if not self._address.is_whole:
            return self._read(self._address.key, where)
        if self._whole is None:
            self._whole = self._read(self._address.key, ...)
        part: NDArray[Any] = self._whole[where]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


class Images:
    """Images of this process that another one maps or asks for; each has one address for as long as it lives.

    Parameters
    ----------
    are_sent : bool
        Whether the other process is on another machine, which sees no file of this one.
    """

    def __init__(self, *, are_sent: bool = False) -> None:
        self._are_sent = are_sent
        self.folders = [] if are_sent else [_new_folder(place) for place in _places()]
        self._known: dict[int, tuple[Callable[[], Any], InFile | OnDemand]] = {}
        self._n_copies = 0

    def address(self, image: Any) -> InFile | OnDemand:
        """Return where an image is found; one in memory is copied, once, to where two processes see it."""
        key = id(image)
        if key not in self._known or self._known[key][0]() is not image:
            dtype, shape = np.dtype(image.dtype), tuple(image.shape)
            is_whole = self._are_sent and isinstance(image, np.ndarray) and image.nbytes <= MAX_SENT_WHOLE
            asked = OnDemand(key, dtype.str, shape, is_whole)
            here = None if self._are_sent else in_file(image) or self._copied(image)
            self._keep(key, image, here or asked)
        return self._known[key][1]

    def read(self, key: int, where: Any) -> NDArray[Any]:
        """Return a region of an image that is read on demand.

        Raises
        ------
        OSError
            If it cannot be read, whatever was raised by what reads it.
        MemoryError
            If there is no room for it.
        """
        image = self._known[key][0]()
        try:
            return unmasked(image[where])
        except MemoryError:
            raise
        except Exception as error:
            raise OSError(
                f"a part of the image cannot be read ({reason_of(error)}): see whether its disk or network is there, "
                "try again; what was drawn is kept"
            ) from error

    def close(self) -> None:
        """Remove what was copied."""
        self._known.clear()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, key: int, image: Any, address: InFile | OnDemand) -> None:
        try:
            self._known[key] = ref(image), address
            finalize(image, self._forget, key, address)
        except TypeError:  # what cannot be referred to weakly is kept
            self._known[key] = (lambda: image), address

    def _forget(self, key: int, address: InFile | OnDemand) -> None:
        if key in self._known and self._known[key][1] is address:
            del self._known[key]
        if isinstance(address, InFile) and Path(address.path).parent in self.folders:
            with suppress(OSError):  # where it is still mapped; it goes with the folder
                Path(address.path).unlink(missing_ok=True)

    def _copied(self, image: Any) -> InFile | None:
        """Copy an array in memory to a file in memory, or to a temporary one; None if there is no room."""
        if not isinstance(image, np.ndarray) or image.dtype.hasobject or not image.size:
            return None
        image = unmasked(image)
        self._n_copies += 1
        for folder in self.folders:
            path = folder / f"{self._n_copies}.image"
            try:
                if image.nbytes <= MAX_SHARE_OF_FREE * shutil.disk_usage(folder).free:
                    _write(path, image)
                    return InFile(str(path), 0, image.dtype.str, image.shape, _strides_in_c_order(image))
            except OSError:
                path.unlink(missing_ok=True)
        return None


def in_file(image: Any) -> InFile | None:
    """Return where an image lies in its file; None if it is in memory, or may differ from the file."""
    stored = image.stored if isinstance(image, OnDisk) else image
    mapped = None if np.ma.is_masked(stored) else memory_map_of(stored)
    if mapped is None or mapped.filename is None or (mapped.mode == "c" and stored is image):
        return None
    offset = mapped.offset + _place(stored) - _place(mapped)
    scaling = image.scaling if isinstance(image, OnDisk) else None
    return InFile(str(mapped.filename), offset, stored.dtype.str, stored.shape, stored.strides, scaling)


def remove_abandoned_folders() -> None:
    """Remove what processes left behind that were killed."""
    if os.name != "posix":  # there a process cannot be looked for without harm, and a file in use cannot be removed
        return
    for folder in (folder for place in _places() for folder in place.glob(f"{_PREFIX}*")):
        with suppress(OSError, ValueError):
            if folder.owner() == Path.home().owner() and not _is_alive(int(folder.name.split("-")[-2])):
                shutil.rmtree(folder, ignore_errors=True)


def _places() -> list[Path]:
    return [place for place in (_IN_MEMORY, Path(tempfile.gettempdir())) if os.access(place, os.W_OK)]


def _new_folder(place: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _place(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _strides_in_c_order(image: NDArray[Any]) -> tuple[int, ...]:
    steps = np.cumprod([image.dtype.itemsize, *image.shape[:0:-1]], dtype=np.int64)
    return tuple(int(step) for step in steps[::-1])


def _write(path: Path, image: NDArray[Any]) -> None:
    """Write an array in C order, once there is room for all of it: a map without room would kill the process."""
    with path.open("xb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, image.nbytes)
        else:
            file.truncate(image.nbytes)
    copy = np.memmap(path, dtype=image.dtype, mode="r+", shape=image.shape)
    copy[...] = image
    copy.flush()

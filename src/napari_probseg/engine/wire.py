"""Messages between two processes: a case travels as its marked region, and comes back as a mere reference."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from io import BytesIO
from multiprocessing.connection import Connection
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Evidence
from napari_probseg.engine.images import Images
from napari_probseg.pages import PAGE_VOXELS, Pages, packed, unpacked, zeros
from napari_probseg.region import Region, n_voxels

Decided: TypeAlias = tuple[NDArray[np.uint8], Pages | None]  # values of a region, or of some pages

MAX_CASES = 2  # that a worker keeps, so that a completion can be cut anew


class _Pickler(pickle.Pickler):
    """Pickles all but cases, which are named by a function where it knows them."""

    def __init__(self, file: BytesIO, name_of: Callable[[Case], Any], buffers: list[pickle.PickleBuffer]) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers.append)
        self._name_of = name_of

    def persistent_id(self, value: Any) -> Any:
        return self._name_of(value) if isinstance(value, Case) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BytesIO, case_of: Callable[[Any], Case | None], buffers: list[bytearray]) -> None:
        super().__init__(file, buffers=buffers)
        self._case_of = case_of

    def persistent_load(self, name: Any) -> Case | None:
        return self._case_of(name)


def send(connection: Connection[Any, Any], message: Any, name_of: Callable[[Case], Any]) -> None:
    """Send a message; arrays follow it as they are."""
    file, buffers = BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(file, name_of, buffers).dump(message)
    raw = [buffer.raw() for buffer in buffers]
    connection.send_bytes(pickle.dumps((file.getvalue(), [view.nbytes for view in raw])))
    for view in raw:
        if view.nbytes:
            connection.send_bytes(view)


def receive(connection: Connection[Any, Any], case_of: Callable[[Any], Case | None]) -> Any:
    """Return the next message.

    Raises
    ------
    EOFError, OSError
        If the other process is gone.
    """
    pickled, sizes = pickle.loads(connection.recv_bytes())
    buffers = [bytearray(n) for n in sizes]
    for buffer in buffers:
        if buffer:
            connection.recv_bytes_into(buffer)
    return _Unpickler(BytesIO(pickled), case_of, buffers).load()


class Sent:
    """The cases that a window sends, and knows again when they come back.

    Parameters
    ----------
    images : Images
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._numbers: WeakKeyDictionary[Case, int] = WeakKeyDictionary()
        self._n = 0
        self._last: dict[int, Case] = {}

    def name_of(self, case: Case) -> tuple[Any, ...]:
        """Return all that another process needs of a case."""
        if case not in self._numbers:
            self._n += 1
            self._numbers[case] = self._n
        number = self._numbers[case]
        self._last = {number: case}
        strokes = np.ascontiguousarray(case.strokes[case.drawn])
        image = self._images.address(case.image)
        return (
            number,
            image,
            case.spacing,
            case.channel_axis,
            case.in_time,
            case.marked,
            _decided(case),
            case.drawn,
            strokes,
            case.evidence,
            case.expected_dice,
            case.sizes,
        )

    def case_of(self, number: int) -> Case | None:
        """Return the case that was sent last; None for an earlier one, whose answer is not wanted any more."""
        return self._last.get(number)


class Received:
    """The cases that a worker was sent, the latest ones.

    Parameters
    ----------
    read : function
        Returns a region of an image that is read on demand.
    """

    def __init__(self, read: Callable[[int, Any], NDArray[Any]]) -> None:
        self._read = read
        self._cases: dict[int, Case] = {}
        self._image: tuple[Any, Any] = (None, None)

    def case_of(self, name: tuple[Any, ...]) -> Case:
        """Return a case, the same one if it comes again."""
        number, address, *parts = name
        if number not in self._cases:
            if self._image[0] != address:
                self._image = address, address.open(self._read)
            for old in list(self._cases)[: 1 - MAX_CASES]:
                del self._cases[old]
            self._cases[number] = _case(self._image[1], *parts)
        return self._cases[number]

    def name_of(self, case: Case) -> int | None:
        """Return what the sender calls a case; None if it is another one, which travels whole."""
        return next((number for number, known in self._cases.items() if known is case), None)


def _decided(case: Case) -> Decided:
    """Return what is decided in the marked region; by pages where that is less, as finished objects lie far apart."""
    is_less = np.count_nonzero(case.pages) * PAGE_VOXELS < n_voxels(case.marked)
    if is_less and case.partial.flags.c_contiguous:
        return packed(case.partial, case.pages), case.pages
    return np.ascontiguousarray(case.partial[case.marked]), None


def _case(
    image: Any,
    spacing: tuple[float, ...],
    channel_axis: int | None,
    in_time: bool,
    marked: Region,
    decided: Decided,
    drawn: Region,
    strokes: NDArray[np.uint8],
    evidence: Evidence | None,
    expected_dice: float,
    sizes: tuple[float, ...],
) -> Case:
    case = Case(image, spacing, channel_axis, in_time=in_time, sizes=sizes)
    values, pages = decided
    partial = zeros(case.shape, np.uint8) if pages is None else unpacked(values, pages, case.shape)
    if pages is None:
        partial[marked] = values
    all_strokes = zeros(case.shape, np.uint8)
    all_strokes[drawn] = strokes
    case = case.with_markers(partial, all_strokes, marked=marked)
    return case if evidence is None else case.with_evidence(*evidence, expected_dice)

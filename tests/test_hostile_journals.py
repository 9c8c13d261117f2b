"""A journal is believed in nothing that a session would not write: what it unpacks to, and how long that takes."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.io import limits
from napari_probseg.session.journal import Kept, read_journal
from napari_probseg.session.journal.records import FIRST_LINE, records_of

SIDE = 1000
IMAGE = np.zeros((SIDE, SIDE), np.uint8)


def record(about: dict[str, Any], content: bytes = b"") -> bytes:
    """Return a record with the right checksum, whatever it holds."""
    text = json.dumps(about).encode()
    whole = struct.pack("<I", len(text)) + text + content
    return struct.pack("<II", len(whole), zlib.crc32(whole)) + whole


def marked(sides: list[list[int]], *, name: str = "partial", n: int = 1) -> dict[str, Any]:
    changes = [{"name": name, "key": f"_{i}", "where": sides} for i in range(n)]
    return {"what": "step", "n_asked": 0, "step": {"verb": "mark", "arguments": {}, "changes": changes}}


@pytest.fixture
def beginning(tmp_path: Path) -> bytes:
    """Return the first record of a journal of the image, with the line before it."""
    session = ps.Session(ps.Case(IMAGE))
    session.mark(np.ones((2, 2)), where=np.s_[:2, :2])
    assert session.keep(tmp_path / "whole.journal").close()
    content = (tmp_path / "whole.journal").read_bytes()
    with (tmp_path / "whole.journal").open("rb") as file:
        file.readline()
        next(records_of(file))
        return content[: file.tell()]


def read(path: Path, content: bytes) -> Kept:
    path.write_bytes(content)
    return read_journal(path)


def test_what_a_journal_unpacks_to_in_all_is_limited(
    tmp_path: Path, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = record(marked([[0, SIDE], [0, SIDE]]), zlib.compress(bytes(2 * SIDE**2), 9))
    assert len(read(tmp_path / "work.journal", beginning + bomb * 3).stored.done) == 3, "test invalid"
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 5 * SIDE**2)
    assert len(read(tmp_path / "work.journal", beginning + bomb * 2).stored.done) == 2
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"work.journal cannot be opened: it unpacks to more than 0.005 GB"):
        read(tmp_path / "work.journal", beginning + bomb * 1000)
    assert tracemalloc.get_traced_memory()[1] < 12 * SIDE**2
    tracemalloc.stop()


def test_what_a_session_file_unpacks_to_in_all_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ps.Session(ps.Case(IMAGE))
    session.mark(np.ones(IMAGE.shape))
    session.mark(erase=np.ones(IMAGE.shape))
    session.save(tmp_path / "work.npz")
    assert (tmp_path / "work.npz").stat().st_size < SIDE**2 / 50, "test invalid"
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", SIDE**2)
    with pytest.raises(ValueError, match=r"work.npz cannot be opened: it unpacks to more than 0.001 GB"):
        ps.Session.load(tmp_path / "work.npz", IMAGE)


@pytest.mark.parametrize(
    "hostile",
    [
        record(marked([[0, 10**9], [0, 10**9]]), zlib.compress(bytes(100))),
        record(marked([[0, SIDE], [0, SIDE]]), zlib.compress(bytes(100))),
        record(marked([[0, SIDE], [0, SIDE]]), b"no deflate"),
        record(marked([[0, SIDE], [0, SIDE]])),
        record(marked([[0, 1], [0, 1]], n=2000), zlib.compress(bytes(3999))),
        record(marked([[0, 1], [0, 1]], name="nothing"), zlib.compress(bytes(9))),
        record(marked([[0, 1], [0, 1]]), zlib.compress(b"\t\t")),
        record({"what": "step"}),
        record({"what": "undo"}) * 2,
        record({"what": "redo"}),
        record([]),
        record({"what": "step", "n_asked": "many", "step": marked([[0, 1], [0, 1]])["step"]}, zlib.compress(bytes(9))),
        record({"what": "saved"}),
        struct.pack("<II", 0xFFFFFFFF, 0),
        struct.pack("<II", 3, zlib.crc32(b"abc")) + b"abc",
        struct.pack("<II", 4, zlib.crc32(b"\xff" * 4)) + b"\xff" * 4,
    ],
    ids=range(16),
)
def test_hostile_records_cost_the_end_alone(tmp_path: Path, beginning: bytes, hostile: bytes) -> None:
    good = record(marked([[0, 1], [0, 2]]), zlib.compress(bytes(2) + bytes([1, 2])))
    kept = read(tmp_path / "work.journal", beginning + good + hostile + good)
    verbs = [step.verb for step in (*kept.stored.done, *kept.stored.undone)]
    assert verbs in (["mark"], ["mark", "mark"])
    session = ps.Session.load(tmp_path / "work.journal", IMAGE)
    assert session.case.partial[0, 1] in (0, 2)


def test_deep_text_and_many_small_parts_are_read_in_bounded_time(tmp_path: Path, beginning: bytes) -> None:
    deep = struct.pack("<I", 10**6) + b"[" * 10**6
    kept = read(tmp_path / "work.journal", beginning + struct.pack("<II", len(deep), zlib.crc32(deep)) + deep)
    assert kept.is_damaged and not kept.stored.done
    n = 20_000
    content = np.random.default_rng(0).integers(0, 2, 2 * n, dtype=np.uint8).tobytes()
    many = record(marked([[0, 1], [0, 1]], n=n), zlib.compress(content, 0))
    assert len(read(tmp_path / "work.journal", beginning + many).stored.done[0].changes) == n


def test_hostile_beginnings_are_refused_in_a_sentence(tmp_path: Path, beginning: bytes) -> None:
    about = {"what": "begin", "time": 0.0, "channel_axis": None, "name": "x", "source": ""}
    identity = {"shape": [9, 9], "n_channels": 1, "dtype": "uint8", "spacing": [1, 1], "fingerprint": "0"}
    start = {"verb": "start", "arguments": {}, "changes": []}
    assert read(tmp_path / "work.journal", FIRST_LINE + record({**about, "identity": identity, "step": start}))
    for wrong in (
        {},
        {"identity": identity},
        {"identity": {**identity, "shape": "ab"}, "step": start},
        {"identity": {**identity, "shape": [1e400, 2]}, "step": start},
        {"identity": identity, "step": {**start, "verb": "mark"}},
        {"identity": identity, "step": start, "channel_axis": "__import__"},
        {"identity": identity, "step": start, "time": None},
        {"identity": identity, "step": []},
    ):
        with pytest.raises(ValueError, match=r"work.journal is damaged or no journal"):
            read(tmp_path / "work.journal", FIRST_LINE + record({**about, **wrong}))

"""A session file is believed in nothing that a session would not write."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_probseg as ps

IMAGE = np.random.default_rng(0).normal(size=(12, 14)).astype(np.float32)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    session = ps.Session(ps.Case(IMAGE, spacing=(1, 2)))
    inside = np.zeros(IMAGE.shape, bool)
    inside[3:6, 3:6] = True
    session.mark(inside=inside)
    session.finish()
    session.reopen(1)
    session.finish()
    session.take(np.eye(12, 14, dtype=np.uint8))
    session.mark(outside=np.roll(inside, 6, axis=1))
    session.save(tmp_path / "session.npz")
    return tmp_path / "session.npz"


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> Path:
    """Write a session anew with something else in it."""
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(bytes(arrays.pop("about")))
    change(about, arrays)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(path, **arrays)
    return path


def step(about: dict[str, Any], verb: str) -> dict[str, Any]:
    return next(step for step in about["steps"] if step["verb"] == verb)


CODE = "1); __import__('os').system('true'); (1"


@pytest.mark.parametrize(
    "change",
    [
        lambda about, _: step(about, "reopen")["arguments"].update(label=CODE),
        lambda about, _: about["start"]["arguments"].update(sizes=CODE),
        lambda about, _: about["start"]["arguments"].update(sizes=[1, -1]),
        lambda about, _: step(about, "take")["arguments"].update(first=CODE),
        lambda about, _: step(about, "mark").update(verb=CODE),
        lambda about, _: about["steps"].append(
            {"verb": "accept", "arguments": {"i": CODE, "request": {}}, "changes": []}
        ),
        lambda about, _: about["steps"].append(
            {"verb": "accept", "arguments": {"i": 0, "verb": CODE, "request": {}}, "changes": []}
        ),
        lambda about, _: about["steps"].append(
            {"verb": "accept", "arguments": {"i": 0, "request": {f"n={CODE}": 1}}, "changes": []}
        ),
        lambda about, _: about["steps"].append({"verb": "adapt", "arguments": {"plane": [CODE, 1]}, "changes": []}),
        lambda about, _: about.update(spacing=[CODE, 1]),
        lambda about, _: about.update(spacing=[float("nan"), 1]),
        lambda about, _: about.update(channel_axis=CODE),
        lambda about, _: about.update(steps="mark"),
        lambda about, _: about.update(steps=None),
        lambda about, _: about.update(n_asked=[]),
        lambda about, _: about.pop("start"),
        lambda about, _: about.pop("version"),
        lambda about, _: (about.pop("version"), about.update(format="another")),
        lambda about, _: step(about, "mark")["changes"].clear(),
        lambda about, _: step(about, "mark")["changes"][0].update(name="image"),
        lambda about, _: step(about, "mark")["changes"][0].update(key="about"),
        lambda about, _: step(about, "mark")["changes"][0].update(where=[[0, 99], [0, 3]]),
        lambda about, _: step(about, "mark")["changes"][0].update(where=[[-3, -1], [0, 3]]),
        lambda about, _: step(about, "mark")["changes"][0].update(where=[[0, 3]]),
        lambda _, arrays: arrays.update({key: value + 7 for key, value in arrays.items() if "step0" in key}),
        lambda _, arrays: arrays.update({key: value.astype(float) for key, value in arrays.items() if "step0" in key}),
        lambda _, arrays: arrays.update({key: value[:1] for key, value in arrays.items() if "step0" in key}),
        lambda _, arrays: arrays.clear(),
    ],
)
def test_what_no_session_writes_is_refused(saved: Path, change: Callable[..., object]) -> None:
    assert ps.Session.load(saved, IMAGE).script(), "test invalid"
    with pytest.raises(ValueError, match=r"session\.npz is damaged or no session") as caught:
        ps.Session.load(changed(saved, change), IMAGE)
    assert "\n" not in str(caught.value)


def test_what_a_session_may_tell_is_quoted_in_its_script(saved: Path) -> None:
    def told(about: dict[str, Any], _: object) -> None:
        arguments = {"i": 0, "request": {"n": 3, "note": "'); raise SystemExit('"}, "maker": "'); raise SystemExit('"}
        about["steps"].append({"verb": "accept", "arguments": arguments, "changes": []})

    script = ps.Session.load(changed(saved, told), IMAGE).script("a'); raise SystemExit('.tif")
    calls = compile(script, "script", "exec", flags=__import__("ast").PyCF_ONLY_AST)
    assert not any(type(node).__name__ == "Raise" for node in __import__("ast").walk(calls))


def test_deep_and_huge_sessions_are_refused(saved: Path) -> None:
    for content in (b"[" * 100_000, b'{"format": ' * 50_000):
        with zipfile.ZipFile(saved, "w") as file:
            buffer = io.BytesIO()
            np.save(buffer, np.frombuffer(content, np.uint8))
            file.writestr("about.npy", buffer.getvalue())
        with pytest.raises(ValueError, match=r"session\.npz is damaged"):
            ps.Session.load(saved, IMAGE)


def test_an_array_that_unpacks_to_more_than_its_region_is_not_unpacked(saved: Path) -> None:
    def larger(_: object, arrays: dict[str, np.ndarray]) -> None:
        arrays["step0_0_after"] = np.zeros(10**8, np.uint8)

    with pytest.raises(ValueError, match=r"session\.npz is damaged"):
        ps.Session.load(changed(saved, larger), IMAGE)


@pytest.mark.parametrize("header", ["{'descr':'|O','fortran_order':F", "{'descr': (", "'", "{'descr': '|u1', }}"])
def test_a_header_of_numpy_that_is_no_python_is_refused(tmp_path: Path, header: str) -> None:
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(tmp_path / "session.npz", "w") as file:
        file.writestr("about.npy", content)
    with pytest.raises(ValueError, match="is damaged or no session of napari-probseg"):
        ps.Session.load(tmp_path / "session.npz", IMAGE)

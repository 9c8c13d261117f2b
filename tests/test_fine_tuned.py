"""What was fine-tuned is kept with a session, in its file and in its journal, and comes back; or its lack is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.morphology import ball
from napari_probseg.proposers.fine_tuned import fingerprint, packed, unpacked
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.session.journal import read_journal
from napari_probseg.session.learnt import has_learnt, with_learnt
from napari_probseg.session.storage import read_stored
from napari_probseg.training.adapt import AdaptConfig


@pytest.fixture(scope="module")
def completer() -> UNetCut:
    return ps.load_completer(device="cpu")


@pytest.fixture(scope="module")
def case() -> ps.Case:
    y, x = np.mgrid[:60, :70]
    image = (np.hypot(y - 30, x - 35) < 15) + np.random.default_rng(0).normal(0, 0.1, (60, 70))
    one = np.ones(2)
    return ps.Case(image).mark(ball((60, 70), (30, 35), 3, one), ball((60, 70), (6, 6), 3, one))


@pytest.fixture(scope="module")
def tuned(completer: UNetCut, case: ps.Case) -> UNetCut:
    found = completer.adapt(case, AdaptConfig(n_rounds=1, n_steps=2, learning_rate=1e-4))
    assert found is not completer, "test invalid"
    return found


def probability(one: UNetCut, case: ps.Case) -> np.ndarray:
    return one.complete(case).probability


def same(a: UNetCut, b: UNetCut) -> bool:
    return all(fingerprint(a.networks[ndim]) == fingerprint(b.networks[ndim]) for ndim in (2, 3))


def worked(case: ps.Case, completer: UNetCut, tuned: UNetCut) -> ps.Session:
    session = ps.Session(case, completer=completer)
    session.mark(ball(case.shape, (31, 40), 2, np.ones(2)))
    session.adapt(tuned)
    return session


def test_only_what_training_changed_is_packed(completer: UNetCut, case: ps.Case, tuned: UNetCut) -> None:
    content = packed(tuned)
    n_weights = sum(tensor.numel() for tensor in completer.networks[2].state_dict().values())
    assert 0 < len(content) < n_weights
    again = unpacked(content, [completer])
    assert np.array_equal(probability(again, case), probability(tuned, case))
    assert not np.array_equal(probability(again, case), probability(completer, case)), "test invalid"
    assert again.networks[3] is completer.networks[3] and again.name == tuned.name
    assert fingerprint(completer.networks[2]) != fingerprint(again.networks[2])
    assert same(again, tuned) and packed(ps.GraphCut()) == b""


def test_what_was_tuned_twice_comes_back(completer: UNetCut, tuned: UNetCut) -> None:
    both = unpacked(packed(tuned), [completer])
    with torch.no_grad():
        next(both.networks[2].parameters()).add_(1)
    again = unpacked(packed(both), [completer])
    assert fingerprint(again.networks[2]) == fingerprint(both.networks[2]) != fingerprint(tuned.networks[2])


@pytest.mark.parametrize("kind", ["file", "journal"])
def test_it_comes_back_with_the_session(
    tmp_path: Path, completer: UNetCut, case: ps.Case, tuned: UNetCut, kind: str
) -> None:
    session, path = worked(case, completer, tuned), tmp_path / "work.npz"
    if kind == "file":
        session.save(path)
    else:
        assert session.keep(path).close()
    again = ps.Session.load(path, case.image, completer=completer)
    assert not again.lacks_learnt and np.array_equal(probability(again.learnt, case), probability(tuned, case))
    assert again.completer is again.learnt
    again.undo()
    assert again.learnt is None and not again.lacks_learnt and again.completer is completer
    again.redo()
    again.save(tmp_path / "again.npz")
    third = ps.Session.load(tmp_path / "again.npz", case.image)
    assert same(third.learnt, tuned), "and the shipped weights are found without being named"


def test_without_the_weights_it_was_tuned_from_its_lack_is_told_and_it_stays_in_files(
    tmp_path: Path, completer: UNetCut, case: ps.Case, tuned: UNetCut, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = worked(case, completer, tuned)
    session.save(tmp_path / "work.npz")
    with monkeypatch.context() as patched:
        patched.setattr("napari_probseg.proposers.load_completer", lambda **_: ps.GraphCut())
        other = ps.Session.load(tmp_path / "work.npz", case.image)
    assert other.lacks_learnt and other.learnt is None and len(other.steps) == 2
    other.save(tmp_path / "other.npz")
    again = ps.Session.load(tmp_path / "other.npz", case.image, completer=completer)
    assert same(again.learnt, tuned)
    other.undo()
    assert not other.lacks_learnt


def test_broken_weights_cost_what_was_learnt_alone(completer: UNetCut, tuned: UNetCut, case: ps.Case) -> None:
    content = packed(tuned)
    n_header = 8 + int.from_bytes(content[:8], "little")
    about = json.loads(content[8:n_header])
    about["__metadata__"]["version"] = "9"
    text = json.dumps(about).encode()
    broken = [b"", b"x" * 40, content[: len(content) // 2], content[8:]]
    broken.append(len(text).to_bytes(8, "little") + text + content[n_header:])
    rng = np.random.default_rng(0)
    for _ in range(60):
        flipped = bytearray(content)
        for at in rng.integers(0, n_header, 3):
            flipped[at] = int(rng.integers(256))
        broken.append(bytes(flipped))
    said = []
    for one in broken:
        try:
            unpacked(one, [completer])
        except ValueError as error:
            said.append(str(error))
    assert len(said) > 10 and all(text.endswith("fine-tune again") and "\n" not in text for text in said)
    stored = worked(case, completer, tuned).stored()
    spoilt = replace(stored, done=(stored.done[0], replace(stored.done[1], learnt=b"x" * 40)))
    restored = ps.Session.restored(with_learnt(spoilt, completer), ps.Case(case.image))
    assert restored.lacks_learnt and len(restored.steps) == 2 and has_learnt(spoilt)


def test_what_has_no_weights_is_not_kept_and_its_lack_is_known(tmp_path: Path, case: ps.Case) -> None:
    session = ps.Session(case, completer=ps.GraphCut())
    session.adapt(ps.GraphCut())
    session.save(tmp_path / "work.npz")
    assert session.learnt is not None and not session.lacks_learnt
    again = ps.Session.load(tmp_path / "work.npz", case.image)
    assert again.lacks_learnt and not has_learnt(read_stored(tmp_path / "work.npz"))
    assert again.keep(tmp_path / "work.journal").flush(10)
    assert len(read_journal(tmp_path / "work.journal").stored.done) == 1

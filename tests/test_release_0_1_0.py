"""What release 0.1.0 wrote still opens: a session, a script and a data set with its models (``data/release-0.1.0``)."""

from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.active_learning.registry import history, models_of, name_in_use
from napari_probseg.dataset.collection import Collection
from napari_probseg.dataset.raw import RawDataset

FILES = Path(__file__).parent / "data" / "release-0.1.0"
VERBS = ["mark", "mark", "accept", "mark", "finish", "mark", "accept", "finish", "reopen", "finish", "take", "mark"]


@pytest.fixture
def expected() -> dict[str, np.ndarray]:
    with np.load(FILES / "expected.npz") as file:
        return dict(file)


def test_a_session_goes_on_where_it_was_left(expected: dict[str, np.ndarray]) -> None:
    session = ps.Session.load(FILES / "session.npz", ps.read(FILES / "image.tif").data, GrowingProposer())
    assert [step.verb for step in session.steps] == VERBS
    assert session.case.spacing == (0.5, 0.25)
    np.testing.assert_array_equal(session.case.partial, expected["partial"])
    np.testing.assert_array_equal(session.case.strokes, expected["strokes"])
    np.testing.assert_array_equal(session.objects, expected["objects"])
    asked = session.propose(3).case
    assert asked.partial is session.case.partial and asked.strokes is session.case.strokes
    assert "seed=3" in _accepted(session), "it counts the questions on"
    while session.can_undo:
        session.undo()
    assert not session.case.partial.any() and not session.objects.any()


def _accepted(session: ps.Session) -> str:
    session.accept(0)
    return session.script()


def test_a_script_gives_the_same_objects(expected: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FILES)
    monkeypatch.setattr(ps, "load_proposer", lambda name: GrowingProposer())
    done: dict[str, np.ndarray] = {}
    exec((FILES / "session.py").read_text(), done)
    np.testing.assert_array_equal(done["objects"], expected["objects"])
    np.testing.assert_array_equal(done["partial"], expected["partial"])


def test_a_data_set_is_read_with_its_provenance_and_its_models() -> None:
    folder = FILES / "Dataset700_Old"
    collection = Collection(folder)
    assert collection.cases == RawDataset(folder).cases == [f"cell_{i}" for i in range(5)]
    assert collection.labels == {"background": 0, "cell": 1, "nucleus": 2}
    assert [entry.held_out for entry in collection.entries].count(True) == 1
    case = collection.load("cell_1")
    assert case.image.shape == (1, 24, 32) and case.spacing == (0.5, 0.25) and (case.label == 1).all()
    assert len(collection["cell_1"].earlier) == 1, "the label that was replaced is kept"
    provenance = collection["cell_0"].provenance
    assert provenance is not None
    session = ps.Session.load(provenance.with_suffix(".npz"), collection.load("cell_0").image[0])
    assert [step.verb for step in session.steps] == VERBS
    assert [model.name for model in models_of(collection)] == ["0001", "0002"]
    assert [change.verb for change in history(collection)] == ["adopt", "adopt", "rollback"]
    assert name_in_use(collection) == "0001"

"""Steps that can be taken back: each keeps the small regions that it changed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_probseg.session.history import Change, History, Step, change_between


def arrays() -> tuple[np.ndarray, np.ndarray]:
    before = np.zeros((6, 7), dtype=np.uint8)
    after = before.copy()
    after[2, 3], after[4, 1] = 1, 2
    return before, after


def test_a_change_is_the_smallest_box_that_holds_every_difference() -> None:
    before, after = arrays()
    (change,) = change_between("partial", before, after)
    assert change.where == (slice(2, 5), slice(1, 4)) and change.before.shape == (3, 3)
    assert change_between("partial", before, before) == ()


def test_a_change_of_a_region_lies_where_the_region_lies() -> None:
    before, after = arrays()
    (change,) = change_between("partial", before, after, (slice(10, 16), slice(None)))
    assert change.where == (slice(12, 15), slice(1, 4))


def test_a_change_is_a_copy() -> None:
    before, after = arrays()
    (change,) = change_between("partial", before, after)
    after[:] = 9
    assert change.after.max() == 2


def test_a_change_is_made_and_taken_back() -> None:
    before, after = arrays()
    (change,) = change_between("partial", before, after)
    assert np.array_equal(change.applied(before), after) and not before.any(), "what it is applied to stays"
    assert np.array_equal(change.reverse.applied(after), before)


def test_steps_are_undone_and_done_again_in_order() -> None:
    history = History()
    for verb in "abc":
        history.add(Step(verb))
    assert [history.undo().verb, history.undo().verb] == ["c", "b"]
    assert [step.verb for step in history.done] == ["a"] and history.can_redo
    assert history.redo().verb == "b"
    history.add(Step("d"))
    assert [step.verb for step in history.done] == ["a", "b", "d"]
    assert not history.can_redo, "what was undone before a new step is gone"


def test_nothing_to_undo_or_to_redo_is_told() -> None:
    history = History()
    assert not history.can_undo and not history.can_redo
    with pytest.raises(RuntimeError, match="nothing to undo"):
        history.undo()
    with pytest.raises(RuntimeError, match="nothing to redo"):
        history.redo()
    assert History((Step("a", {}, (Change("partial", (slice(0, 1),), np.zeros(1), np.ones(1)),)),)).can_undo

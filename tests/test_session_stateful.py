"""Any sequence of acts keeps what a session promises."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import napari_probseg as ps
from fakes import GrowingProposer

SHAPE = (16, 16)
places = st.tuples(st.integers(1, 14), st.integers(1, 14))


class Work(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        image = np.random.default_rng(0).random(SHAPE)
        self.session = ps.Session(ps.Case(image), GrowingProposer())
        self.states = [self.state()]
        self.undone: list[tuple[bytes, ...]] = []

    def state(self) -> tuple[bytes, ...]:
        case = self.session.case
        return case.partial.tobytes(), case.strokes.tobytes(), self.session.objects.tobytes()

    def did(self) -> None:
        if len(self.session.steps) == len(self.states):
            self.states.append(self.state())
            self.undone.clear()

    # Conditions are methods: the oldest hypothesis parses the source of a lambda whenever it asks one.

    def has_strokes(self) -> bool:
        return bool(self.session.case.strokes.any())

    def has_object(self) -> bool:
        return bool(((self.session.case.partial == 1) & (self.session.objects == 0)).any())

    def has_finished_objects_alone(self) -> bool:
        case = self.session.case
        return bool(self.session.objects.any() and not case.strokes.any() and not (case.partial == 1).any())

    def can_undo(self) -> bool:
        return self.session.can_undo

    def can_redo(self) -> bool:
        return self.session.can_redo

    @rule(at=places, verb=st.sampled_from(["inside", "outside", "erase"]))
    def mark(self, at: tuple[int, int], verb: str) -> None:
        mask = np.zeros(SHAPE, dtype=bool)
        mask[at[0] - 1 : at[0] + 2, at[1]] = True
        self.session.mark(**{verb: mask})
        self.did()

    @precondition(has_strokes)
    @rule(i=st.integers(0, 3))
    def choose(self, i: int) -> None:
        session = self.session
        session.propose(4)
        asked, strokes, locked = session.candidates.case, session.case.strokes, session.objects > 0
        held = session.case.partial.copy()
        session.accept(i)
        decided = asked.partial != ps.Marker.UNKNOWN
        after = session.case.partial
        assert (after[decided] == asked.partial[decided]).all(), "decided voxels stay"
        assert (after[strokes > 0] == held[strokes > 0]).all(), "strokes stay"
        assert (after[locked] == held[locked]).all(), "finished objects stay"
        self.did()

    @precondition(has_object)
    @rule()
    def finish(self) -> None:
        before = self.session.objects
        n_before = len(np.unique(before[before > 0]))
        self.session.finish()
        assert len(np.unique(self.session.objects[self.session.objects > 0])) == n_before + 1, "a number of its own"
        assert (self.session.objects[before > 0] == before[before > 0]).all(), "finished objects stay"
        self.did()

    @precondition(has_finished_objects_alone)
    @rule(pick=st.integers(0, 99))
    def reopen(self, pick: int) -> None:
        labels = np.unique(self.session.objects[self.session.objects > 0])
        self.session.reopen(int(labels[pick % len(labels)]))
        self.did()

    def has_finished_objects(self) -> bool:
        return bool(self.session.objects.any())

    @precondition(has_finished_objects)
    @rule(pick=st.integers(0, 99))
    def remove(self, pick: int) -> None:
        before, case = self.session.objects.copy(), self.session.case
        labels = np.unique(before[before > 0])
        label = int(labels[pick % len(labels)])
        self.session.remove(label)
        assert np.array_equal(self.session.objects, np.where(before == label, 0, before)), "the others stay"
        assert np.array_equal(self.session.case.strokes, case.strokes), "strokes stay"
        is_elsewhere = before != label
        assert np.array_equal(self.session.case.partial[is_elsewhere], case.partial[is_elsewhere])
        self.did()

    @rule(at=places, label=st.integers(1, 3))
    def take(self, at: tuple[int, int], label: int) -> None:
        labels = np.zeros(SHAPE, dtype=int)
        labels[at[0] - 1 : at[0] + 2, at[1]] = label
        before = self.session.objects
        if (before[labels > 0] > 0).all():
            return
        n_before = len(np.unique(before[before > 0]))
        self.session.take(labels)
        after = self.session.objects
        assert (after[before > 0] == before[before > 0]).all(), "finished objects stay"
        assert len(np.unique(after[after > 0])) == n_before + 1, "none is merged with another"
        self.did()

    @precondition(can_undo)
    @rule()
    def undo(self) -> None:
        self.undone.append(self.states.pop())
        self.session.undo()
        assert self.state() == self.states[-1]

    @precondition(can_redo)
    @rule()
    def redo(self) -> None:
        self.session.redo()
        self.states.append(self.undone.pop())
        assert self.state() == self.states[-1]

    @invariant()
    def strokes_are_decided_as_drawn(self) -> None:
        case = self.session.case
        drawn = case.strokes != ps.Marker.UNKNOWN
        assert (case.partial[drawn] == case.strokes[drawn]).all()

    @invariant()
    def finished_objects_are_background_where_nobody_drew(self) -> None:
        case = self.session.case
        locked = (self.session.objects > 0) & (case.strokes == ps.Marker.UNKNOWN)
        assert (case.partial[locked] == ps.Marker.BACKGROUND).all()

    @invariant()
    def nothing_of_the_object_in_work_lies_elsewhere(self) -> None:
        case, elsewhere = self.session.case, np.ones(SHAPE, bool)
        elsewhere[self.session.in_work] = False
        assert not case.strokes[elsewhere].any()
        blank = np.where(self.session.objects > 0, ps.Marker.BACKGROUND, ps.Marker.UNKNOWN)
        assert (case.partial[elsewhere] == blank[elsewhere]).all()

    @invariant()
    def the_history_is_complete(self) -> None:
        assert len(self.session.steps) == len(self.states) - 1
        assert self.state() == self.states[-1]


TestWork = Work.TestCase
TestWork.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)

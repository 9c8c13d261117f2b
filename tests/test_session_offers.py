"""What is on offer in a session after a question was called off, or a choice taken back."""

import numpy as np

import napari_probseg as ps
from sessions import square


def test_a_question_that_is_called_off_leaves_on_offer_what_was_before(session: ps.Session) -> None:
    session.mark(square(10, 10))
    session.propose(3)
    before = session.candidates
    session.look_at(1)
    asked = session.ask("complete")
    session.ask("adapt")
    assert session.candidates is None
    session.call_off()
    assert session.candidates is before and session.looked_at == 1
    assert session.on_offer is not None and session.is_current(session.on_offer.request)
    assert not session.is_current(asked)
    session.ask()
    session.mark(square(20, 20))
    session.call_off()
    assert session.candidates is None, "what was on offer before a stroke"


def test_a_choice_that_is_taken_back_is_there_again(session: ps.Session) -> None:
    session.mark(square(10, 10))
    offered = session.propose(3)
    session.look_at(1)
    session.accept(2)
    session.finish()
    session.undo()
    assert session.candidates is None
    session.undo()
    assert session.candidates is offered and session.looked_at == 1
    session.accept(0)
    assert np.array_equal(session.case.partial, offered.accept(0).partial)
    session.undo()
    session.redo()
    assert session.candidates is None
    session.undo()
    session.undo()
    assert session.candidates is None, "it was of a stroke that is taken back, too"

"""What tests do in a session: strokes, every verb there is, and the state that comes of it."""

from __future__ import annotations

import numpy as np

import napari_probseg as ps

SHAPE = (40, 40)


def square(y: int, x: int, r: int = 1, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[..., y - r : y + r + 1, x - r : x + r + 1] = True
    return mask


def state(session: ps.Session) -> tuple[bytes, ...]:
    return session.case.partial.tobytes(), session.case.strokes.tobytes(), session.objects.tobytes()


def worked(session: ps.Session) -> ps.Session:
    """Use every verb."""
    session.take(square(35, 5) * 4)
    session.mark(square(10, 10), square(30, 30))
    session.propose(4, reach=0.5)
    session.accept(3)
    session.mark(outside=square(10, 13), erase=square(30, 30))
    session.propose(4)
    session.reject()
    session.accept(1)
    session.finish()
    session.mark(square(20, 30))
    session.undo()
    session.reopen(5)
    session.mark(square(25, 10))
    session.finish()
    session.classify(4, "cell")
    session.mark(square(5, 35), square(5, 30))
    return session

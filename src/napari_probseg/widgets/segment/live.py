"""Live: whether the answer is asked for by itself after each stroke, and whether it comes fast enough for that."""

from __future__ import annotations

import time
from collections import deque
from statistics import median

from napari_probseg.widgets.settings import LIVE_AUTO, LIVE_ON

MAX_SECONDS = 1.0  # an answer that takes longer is not asked for by itself, unless the user wants that
N_ANSWERS = 3  # that are looked at
BACK_ON = "Answers are quick again: Live is on."


class Live:
    """Whether answers come by themselves.

    Parameters
    ----------
    setting : str
        `Settings.live`: by `LIVE_AUTO` it is on while answers are not slow.
    """

    def __init__(self, setting: str) -> None:
        self.is_on = setting in (LIVE_AUTO, LIVE_ON)
        self._is_auto = setting == LIVE_AUTO
        self._seconds: deque[float] = deque(maxlen=N_ANSWERS)
        self._begun: float | None = None
        self._is_loaded = False  # what answers: the first answer waits for that

    def switch(self, on: bool) -> None:
        """Switch it as the user wants, from now on."""
        self.is_on, self._is_auto = on, False
        self._seconds.clear()

    def begin(self) -> None:
        """Note that an answer is asked for."""
        self._begun = time.perf_counter()

    @property
    def why_off(self) -> str:
        """What to say where answers turned out to be too slow to come by themselves; else nothing."""
        if not self._is_auto or len(self._seconds) < N_ANSWERS or median(self._seconds) <= MAX_SECONDS:
            return ""
        return f"An answer takes {median(self._seconds):.1f} s here, so Live is off: ask by key, or switch it on."

    def end(self) -> None:
        """Note that the answer, or the first part of it, is on show: that may switch it off, or on again."""
        if self._begun is not None:
            if self._is_loaded:
                self._seconds.append(time.perf_counter() - self._begun)
            self._is_loaded, self._begun = True, None
            if self._is_auto:
                self.is_on = not self.why_off

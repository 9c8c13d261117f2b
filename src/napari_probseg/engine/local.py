"""Engine in this very process: for models that a script hands over, and where no other process can be had."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_probseg.engine.models import Resources
from napari_probseg.engine.requests import Request


class Local:
    """Answers requests where it is called, in a thread of a window for example.

    Parameters
    ----------
    resources : Resources, optional
    """

    def __init__(self, resources: Resources | None = None) -> None:
        self.resources = resources or Resources()

    def answering(self, request: Request) -> Generator[Any, Any, Any]:
        """Yield what is told meanwhile and return the answer.

        Closing the generator gives the request up; sending it anything tells the request to come to an end by itself.
        """
        self.resources.stop.clear()
        steps = request.answer(self.resources)
        try:
            while True:
                if (yield next(steps)) is not None:
                    self.resources.stop.set()
        except StopIteration as stop:
            return stop.value
        finally:
            steps.close()

    def close(self) -> None:
        """Let go of what was kept."""
        self.resources = Resources()

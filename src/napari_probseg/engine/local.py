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

    def answering(self, request: Request) -> Generator[Any, None, Any]:
        """Yield what is told meanwhile and return the answer; closing it gives the request up."""
        return (yield from request.answer(self.resources))

    def close(self) -> None:
        """Let go of what was kept."""
        self.resources = Resources()

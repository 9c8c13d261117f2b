"""Comparison of two models by their Dice on held-out images; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from napari_probseg.progress import counted


@dataclass(frozen=True)
class Judgement:
    """How well a model completes what is held out.

    Parameters
    ----------
    dice : mapping of int to float
        Mean Dice over all objects, after so many dabs.
    n_images, n_objects : int
        What was completed.
    """

    dice: Mapping[int, float]
    n_images: int
    n_objects: int

    @property
    def score(self) -> float:
        """The mean over the numbers of dabs, by which models are compared."""
        return fmean(self.dice.values())


@dataclass(frozen=True)
class Comparison:
    """A new model beside the one in use, on the same held-out images.

    Parameters
    ----------
    model, in_use : str
        Names of models; ``"general"`` is the shipped one.
    new, old : Judgement
        Of ``model`` and of ``in_use``.
    """

    model: str
    in_use: str
    new: Judgement
    old: Judgement

    @property
    def is_better(self) -> bool:
        """Whether the new model is."""
        return self.new.score > self.old.score

    def __str__(self) -> str:
        return (
            f"mean Dice on {counted(self.new.n_images, 'held-out image')}: "
            f"{self.new.score:.3f} by model {self.model}, {self.old.score:.3f} by the one in use, {self.in_use}"
        )

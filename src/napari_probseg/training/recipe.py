"""What the general networks are trained on and towards, and the recipes of the shipped ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from napari_probseg.nn.advised import AdvisedConfig
from napari_probseg.nn.general import WINDOW_SIDE, GeneralConfig
from napari_probseg.training.fit import FitConfig

MOST_STEPS = 1_000_000  # of a training whose end is told in minutes


@dataclass(frozen=True)
class GeneralTraining:
    """What the general proposer is trained on and towards.

    Parameters
    ----------
    ndim : int
        2 for images, 3 for volumes.
    size : int
        Pixels along each side of a crop.
    n_batch : int
        Crops in a batch.
    share_real : float
        Share of the batch that comes from real images, if there are any.
    share_pseudo : float
        Share of those that have super-pixels for labels.
    n_crops : int
        Real crops that are cut from each data set.
    n_samples : int
        K of the best-of-K loss (Guzman-Rivera et al. 2012; Tyche, Rakic et al. 2024).
    weight_kl : float
        b1 of Eq. 3 of Wong et al. (2022).
    free_bits : float
        Nats per dimension of the latent that cost nothing.
    n_corrections : int
        Looks at the network's answer that a step may see the strokes after.
    n_dabs : int
        Dabs after each look, at most, each in another place where the answer is wrong.
    share_answered : float
        Share of the looks after which the answer is accepted, whatever it is like.
    share_wrong : float
        Share of what is accepted from the beginning that is wrong somewhere.
    share_careless : float
        Share of the strokes that are not clipped to their side of the border.
    share_sampled : float
        Share of the batch that samples are drawn for.
    """

    ndim: int = 2
    size: int = WINDOW_SIDE[2]
    n_batch: int = 24
    share_real: float = 0.6
    share_pseudo: float = 0.12
    n_crops: int = 450
    n_samples: int = 6
    weight_kl: float = 1e-3
    free_bits: float = 0.1
    n_corrections: int = 3
    n_dabs: int = 1
    share_answered: float = 0.0
    share_wrong: float = 0.0
    share_careless: float = 0.0
    share_sampled: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """All that decides a training; the shipped weights of ``name`` are of this one."""

    name: str
    fit: FitConfig
    training: GeneralTraining
    network: GeneralConfig | AdvisedConfig

    def lasting(self, *, steps: int | None = None, minutes: float | None = None, **changes: Any) -> FitConfig:
        """Return how it is fitted for so many steps, minutes or both, whichever ends first; as shipped if neither.

        Parameters
        ----------
        steps, minutes : optional
        **changes
            Other fields of `FitConfig`.
        """
        if steps or minutes:
            changes |= {"n_steps": steps or MOST_STEPS, "minutes": minutes or 0.0}
        return replace(self.fit, **changes)


RECIPES = {
    2: Recipe(
        "general",
        FitConfig(
            MOST_STEPS,
            minutes=150,
            learning_rate=1.5e-3,
            clip=2.0,
            average=0.997,
            mixed_precision=True,
            rates=(("encoder.", 0.2),),
        ),
        GeneralTraining(
            share_real=0.75,
            n_crops=340,
            n_samples=4,
            n_corrections=3,
            n_dabs=7,
            share_answered=0.4,
            share_wrong=0.4,
            share_careless=0.15,
            share_sampled=0.5,
        ),
        AdvisedConfig(),
    ),
    3: Recipe(
        "general3d",
        FitConfig(2400, learning_rate=1e-3, mixed_precision=True),
        GeneralTraining(ndim=3, size=WINDOW_SIDE[3], n_batch=8, n_samples=4, share_pseudo=0.25, n_crops=120),
        GeneralConfig(ndim=3, n_image_channels=2),
    ),
}

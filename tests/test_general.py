"""The general conditional VAE and its training."""

import pytest
import torch

from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.tasks import Task
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.general import (
    GeneralTraining,
    batch_maker,
    corrected,
    loss_of,
    network_input,
    reconstruction,
)

SMALL = GeneralConfig(widths=(8, 16, 24), n_head=16, n_latent=4)


@pytest.fixture
def network() -> GeneralCVAE:
    torch.manual_seed(0)
    return GeneralCVAE(SMALL).eval()


def a_batch(n: int = 4, size: int = 32) -> tuple[Task, Chance]:
    config = GeneralTraining(size=size, n_batch=n)
    return batch_maker(config, None)(torch.Generator().manual_seed(0))


def test_many_samples_at_once_are_those_one_by_one(network: GeneralCVAE) -> None:
    x, z = torch.randn(2, 5, 32, 32), torch.randn(6, 4)
    features, reach = network.features(x), torch.ones(6)
    together = network.decode(features, z, reach)
    for item in range(2):
        alone_features = network.features(x[item : item + 1])
        for k in range(3):
            i = 3 * item + k
            alone = network.decode(alone_features, z[i : i + 1], reach[:1])
            assert torch.allclose(together.object[i], alone.object[0], atol=1e-5)
            assert torch.allclose(together.mask[i], alone.mask[0], atol=1e-5)
            assert torch.allclose(together.quality[i], alone.quality[0], atol=1e-5)


def test_latent_and_reach_matter_before_training(network: GeneralCVAE) -> None:
    features = network.features(torch.randn(1, 5, 32, 32))
    z = torch.randn(2, 4)
    samples = network.decode(features, z, torch.ones(2)).object
    assert not torch.allclose(samples[0], samples[1])
    reaches = network.decode(features, z[:1].repeat(2, 1), torch.tensor([0.1, 1.0])).mask
    assert not torch.allclose(reaches[0], reaches[1])


def test_reconstruction_ignores_what_is_already_decided(network: GeneralCVAE) -> None:
    task, _ = a_batch()
    sample = network.decode(
        network.features(network_input(task.image, task.inside, task.outside)), torch.zeros(4, 4), task.reach
    )
    known = task.inside | task.outside
    assert known.any(), "test invalid"
    before = reconstruction(sample, task)
    wild = type(sample)(sample.mask, torch.where(known, 50.0, sample.object), sample.quality)
    assert torch.allclose(before, reconstruction(wild, task))


def test_correction_only_adds_true_marks(network: GeneralCVAE) -> None:
    task, chance = a_batch()
    after = corrected(network, task, chance)
    assert (after.inside & task.inside).sum() == task.inside.sum()
    assert (after.inside | after.outside).sum() > (task.inside | task.outside).sum(), "test invalid"
    assert not (after.inside & ~task.target).any()
    assert not (after.outside & task.target).any()


def test_training_overfits_one_batch() -> None:
    config = GeneralTraining(size=32, n_batch=4, n_samples=2, share_corrected=0)
    batch = a_batch()
    torch.manual_seed(0)
    network = GeneralCVAE(SMALL)
    steps = list(fit(network, lambda _: batch, loss_of(config), FitConfig(60, learning_rate=5e-3, n_warmup=5)))
    assert steps[-1].losses["control"] < 0.5 * steps[0].losses["control"]
    assert steps[-1].losses["posterior"] < 0.6 * steps[0].losses["posterior"]

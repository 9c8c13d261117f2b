"""The losses, the training loop and weights on disk."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_probseg.nn.checkpoint import FORMAT, read_weights, write_weights
from napari_probseg.nn.presets import load_network
from napari_probseg.nn.wong2022 import Wong2022
from napari_probseg.training.fit import FitConfig, Losses, fit
from napari_probseg.training.losses import kl_to_prior, soft_dice_loss


def a_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1), nn.Sigmoid())


def a_case(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noise and where it is positive."""
    noise = torch.randn(4, 1, 8, 8, generator=generator)
    return noise, (noise > 0).float()


def noisy_dice(network: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> Losses:
    x, y = batch
    return {"total": soft_dice_loss(network(x + 0.1 * torch.randn_like(x)), y).mean()}


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# --- losses ---


def test_soft_dice_is_zero_for_the_truth_and_one_for_its_opposite() -> None:
    truth = torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0]])
    assert soft_dice_loss(truth, truth) == pytest.approx([0, 0], abs=1e-3)
    assert soft_dice_loss(1 - truth, truth) == pytest.approx([1, 1], abs=1e-3)
    assert soft_dice_loss(torch.zeros(1, 4), torch.zeros(1, 4)) == pytest.approx([0], abs=1e-3)


def test_weighted_dice_ignores_voxels_of_weight_zero() -> None:
    truth, weight = torch.tensor([[0.0, 1, 1, 0]]), torch.tensor([[1.0, 1, 0, 0]])
    prediction = torch.tensor([[0.2, 0.7, 0.1, 0.9]], requires_grad=True)
    loss = soft_dice_loss(prediction, truth, weight)
    assert loss.item() == pytest.approx(1 - 2 * 0.7 / (0.2 + 0.7 + 1), abs=1e-3)
    loss.sum().backward()
    assert prediction.grad is not None
    assert (prediction.grad[0, :2] != 0).all(), "test invalid"
    assert (prediction.grad[0, 2:] == 0).all()


def test_kl_is_zero_when_the_posterior_is_the_prior_and_the_integral_elsewhere() -> None:
    assert kl_to_prior(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]
    mean, log_variance = 0.7, -0.5
    z = np.linspace(-12, 12, 200_001)
    variance = np.exp(log_variance)
    log_q = -0.5 * ((z - mean) ** 2 / variance + np.log(2 * np.pi * variance))
    log_p = -0.5 * (z**2 + np.log(2 * np.pi))
    expected = float(np.sum(np.exp(log_q) * (log_q - log_p)) * (z[1] - z[0]))
    assert kl_to_prior(torch.tensor([[mean]]), torch.tensor([[log_variance]])).item() == pytest.approx(
        expected, rel=1e-4
    )


def test_free_bits_cost_nothing() -> None:
    log_variance = torch.zeros(1, 2, requires_grad=True)
    kl = kl_to_prior(torch.tensor([[0.1, 3.0]]), log_variance, free_bits=0.5)
    assert kl.item() == pytest.approx(0.5 + 4.5)


# --- the loop ---


def test_fit_overfits_one_case() -> None:
    batch = a_case(torch.Generator().manual_seed(0))
    config = FitConfig(150, learning_rate=3e-2, n_warmup=5, average=0.9)
    network = a_network()
    steps = list(fit(network, lambda _: batch, noisy_dice, config))
    assert [p.step for p in steps] == list(range(1, 151))
    assert steps[0].losses["total"] > 0.4, "test invalid"
    assert steps[-1].losses["total"] < 0.1
    assert not network.training
    assert soft_dice_loss(network(batch[0]), batch[1]).mean() < 0.1


def test_fit_goes_on_as_if_it_had_never_been_broken_off(tmp_path: Path) -> None:
    config = FitConfig(12, n_warmup=3, save_every=0)
    whole = a_network()
    losses = [p.losses for p in fit(whole, a_case, noisy_dice, config)]
    first = fit(a_network(), a_case, noisy_dice, config, folder=tmp_path)
    before = [next(first).losses for _ in range(5)]
    first.close()
    torch.manual_seed(99)  # what happens between does not matter
    resumed = nn.Sequential(*a_network())
    after = list(fit(resumed, a_case, noisy_dice, config, folder=tmp_path))
    assert [p.step for p in after] == list(range(6, 13))
    assert before + [p.losses for p in after] == losses
    assert same(resumed, whole)


def test_fit_of_a_finished_training_returns_its_network(tmp_path: Path) -> None:
    config = FitConfig(4, n_warmup=1)
    network, again = a_network(), a_network()
    list(fit(network, a_case, noisy_dice, config, folder=tmp_path))
    assert not same(network, again), "test invalid"
    assert list(fit(again, a_case, noisy_dice, config, folder=tmp_path)) == []
    assert same(network, again)


def test_seed_decides_the_training() -> None:
    networks = []
    for seed in (0, 0, 1):
        networks.append(a_network())
        list(fit(networks[-1], a_case, noisy_dice, FitConfig(3, seed=seed)))
    assert same(networks[0], networks[1])
    assert not same(networks[0], networks[2])


def test_fit_stops_at_a_loss_that_is_not_finite() -> None:
    def broken(network: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> Losses:
        return {"total": network(batch[0]).mean() * (float("nan") if step == 2 else 1.0)}

    with pytest.raises(FloatingPointError, match="not finite at step 2: lower the learning rate"):
        list(fit(a_network(), a_case, broken, FitConfig(5)))


# --- weights on disk ---


def write(path: Path) -> Wong2022:
    torch.manual_seed(0)
    network = Wong2022()
    write_weights(path, network.state_dict(), preset="wong2022", config={})
    return network


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    network = write(tmp_path / "w.safetensors")
    preset, config, tensors = read_weights(tmp_path / "w.safetensors")
    assert (preset, config) == ("wong2022", {})
    assert all(torch.equal(tensors[name], value) for name, value in network.state_dict().items())
    assert same(load_network(tmp_path / "w.safetensors"), network)


def test_damaged_weights_say_so(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write(path)
    whole = path.read_bytes()
    for content in (b"", b"not weights at all", whole[:40], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"w\.safetensors is damaged or no safetensors file"):
            read_weights(path)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        read_weights(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_say_so(tmp_path: Path, value: float) -> None:
    network = write(tmp_path / "w.safetensors")
    name, tensor = next(iter(network.state_dict().items()))
    tensor.view(-1)[0] = value
    write_weights(tmp_path / "w.safetensors", network.state_dict(), preset="wong2022", config={})
    with pytest.raises(ValueError, match=f"w.safetensors has weights that are no finite numbers \\({name}\\)"):
        load_network(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "holds no weights of napari-probseg"),
        ({"format": "pt"}, "holds no weights of napari-probseg"),
        ({"format": FORMAT, "version": "99"}, "version 99, this release reads version 1"),
        ({"format": FORMAT, "version": "1", "preset": "wong2022", "config": "{}"}, "do not fit the network 'wong2022'"),
        ({"format": FORMAT, "version": "1", "preset": "other", "config": "{}"}, "there is no network 'other'"),
        ({"format": FORMAT, "version": "1", "preset": "wong2022", "config": '{"a": 1}'}, "does not fit the network"),
    ],
)
def test_foreign_weights_say_so(tmp_path: Path, header: dict[str, str] | None, says: str) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata=header)
    with pytest.raises(ValueError, match=says):
        load_network(path)


def test_full_disk_leaves_the_old_weights_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    network = write(path)

    def half(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\)"):
        write_weights(path, {"a": torch.zeros(2)}, preset="wong2022", config={})
    assert same(load_network(path), network)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]

"""The paper's network, its disks and its experiment."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_probseg as ps
from napari_probseg.nn.presets import load_network
from napari_probseg.nn.wong2022 import Wong2022, decided
from napari_probseg.reproduce import wong2022 as experiment
from napari_probseg.simulate.disks import SIZE, Disks, make_disks, partial_pair
from napari_probseg.simulate.phantoms import disks_image


@pytest.fixture(scope="module")
def network() -> Wong2022:
    torch.manual_seed(0)
    return Wong2022().eval()


@pytest.fixture(scope="module")
def disks() -> Disks:
    return make_disks(40, np.random.default_rng(0))


def inputs(disks: Disks, n: int = 8) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    pairs = [experiment.task(disks, i, rng) for i in range(n)]
    x, y = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
    return x, y


# --- the network ---


def test_encoder_has_the_sizes_of_the_paper(network: Wong2022) -> None:
    widths = [m.out_channels for m in network.encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert widths == [5, 32, 16]
    assert sum(isinstance(m, nn.MaxPool2d) for m in network.encoder.modules()) == 3


def test_posterior_has_the_shape_of_the_latent(network: Wong2022, disks: Disks) -> None:
    x, y = inputs(disks)
    mean, log_variance = network.encode(x, y)
    assert mean.shape == log_variance.shape == (8, network.n_latent, 4, 4)
    assert not torch.allclose(mean[0], mean[1]), "test invalid"


@pytest.mark.parametrize("shape", [(32, 32), (40, 16)])
def test_decided_voxels_stay_and_nothing_is_object_outside_the_mask(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        torch.manual_seed(seed)
        network = Wong2022()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(4)  # outputs near 0 and 1, too
        known = torch.rand(3, *shape, generator=generator) < 0.3
        known_object = known & (torch.rand(3, *shape, generator=generator) < 0.5)
        x = torch.stack([torch.rand(3, *shape, generator=generator), known.float(), known_object.float()], 1)
        y = network.decode(x, 3 * torch.randn(3, *network.latent_shape(x), generator=generator))
        assert y.shape == (3, 2, *shape)
        assert ((y >= 0) & (y <= 1)).all()
        mask, segmentation = y.unbind(1)
        assert (mask[known] == 1).all()
        assert torch.equal(segmentation[known], known_object.float()[known])
        assert (segmentation <= mask).all()


def test_many_samples_at_once_are_those_one_by_one(network: Wong2022, disks: Disks) -> None:
    x, _ = inputs(disks, 2)
    z = torch.randn(6, *network.latent_shape(x), generator=torch.Generator().manual_seed(0))
    together = network.decode(x, z)
    assert not torch.allclose(together[0], together[1]), "test invalid"
    for i in range(6):
        assert torch.allclose(together[i], network.decode(x[i // 3 : i // 3 + 1], z[i : i + 1])[0], atol=1e-6)


def test_decided_is_the_likelier_of_both() -> None:
    mask, inside = torch.tensor([0.4, 0.6, 0.6, 1.0]), torch.tensor([0.9, 0.9, 0.4, 0.6])
    y = torch.stack([mask, mask * inside])[None, :, None]
    assert decided(y)[0, 0, 0].tolist() == [False, True, True, True]
    assert decided(y)[0, 1, 0].tolist() == [False, True, False, True]


# --- the disks ---


def test_disks_are_what_they_are_called(disks: Disks) -> None:
    assert disks.image.shape == (40, SIZE, SIZE)
    assert disks.disk.shape == (40, 3, SIZE, SIZE)
    assert disks.image.min() >= 0
    assert disks.image.max() <= 1
    assert all(len(np.unique(image)) <= 4 for image in disks.image)
    assert len(np.unique(disks.image[:, 0, 0])) > 20, "the background's intensity is random, too"
    assert (disks.reading(0, 0b101) == (disks.disk[0, 0] | disks.disk[0, 2])).all()


def test_partial_pairs_are_nested_and_true(disks: Disks) -> None:
    rng = np.random.default_rng(0)
    for i in range(40):
        truth = disks.reading(i, int(rng.integers(1, 8)))
        (x_m, x_s), (y_m, y_s) = (part.astype(bool) for part in partial_pair(truth, rng))
        assert (x_m <= y_m).all()
        assert x_m.sum() < y_m.sum()
        assert (x_s == x_m & truth).all()
        assert (y_s == y_m & truth).all()


def test_seed_decides_data() -> None:
    first, again, other = (make_disks(3, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    batches = [experiment.batch_maker(first, 4)(torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


# --- the experiment ---


class Knows(Wong2022):
    """A decoder that segments all of one true disk, another for each sample."""

    def __init__(self, disks: Disks) -> None:
        super().__init__()
        self.disk = {image.tobytes(): disk for image, disk in zip(disks.image, disks.disk, strict=True)}

    def decode(self, x: Tensor, z: Tensor) -> Tensor:
        disk = torch.from_numpy(self.disk[x[0, 0].numpy().tobytes()]).float()
        chosen = disk[torch.arange(len(z)) % 3 if z.any() else torch.zeros(len(z), dtype=torch.long)]
        return torch.stack([torch.ones_like(chosen), chosen], 1)


def test_figures_of_a_perfect_decoder(monkeypatch: pytest.MonkeyPatch, disks: Disks) -> None:
    def nothing_known(data: Disks, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        blank, all_decided = np.zeros((SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.float32)
        return np.stack([data.image[i], blank, blank]), np.stack([all_decided, disks.disk[i, 0]]).astype(np.float32)

    monkeypatch.setattr(experiment, "task", nothing_known)
    many = experiment.evaluate(Knows(disks), disks, seed=0, spread=1.0)
    one = experiment.evaluate(Knows(disks), disks, seed=0, spread=0.0)
    assert many.dice == one.dice == 1
    assert many.share_adding == one.share_adding == 1
    assert many.n_object + many.n_background == SIZE * SIZE
    assert 2.5 < many.n_readings <= 3  # a disk may lie behind another
    assert one.n_readings == 1
    assert many.energy_distance < one.energy_distance


def test_loss_falls_on_one_batch(disks: Disks) -> None:
    torch.manual_seed(0)
    network, batch = Wong2022(), inputs(disks, 2)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for step in range(200):
        loss = experiment.elbo(network, batch, step)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.8 * losses[0]:
            return
    pytest.fail(f"the loss fell from {losses[0]:.3f} to {losses[-1]:.3f} alone")


def test_reproduction_writes_weights_table_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "N_IMAGES", 12)
    for folder in (tmp_path / "a", tmp_path / "b"):
        steps = list(experiment.reproduce(folder, seed=3, n_steps=2))
        assert steps[-1].step == steps[-1].n_steps
    for name in ("wong2022.md", "wong2022.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    networks = [load_network(tmp_path / folder / "wong2022.safetensors") for folder in "ab"]
    pairs = zip(*(network.state_dict().values() for network in networks), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert isinstance(networks[0], Wong2022)
    table = (tmp_path / "a" / "wong2022.md").read_text()
    assert "--seed 3 --steps 2" in table
    assert "52" in table and "31" in table and "0.87" in table
    assert [row.split(" | ")[1] for row in table.splitlines()[-10:]] == ["0.3", "0.5", "0.7", "0.9", "0.97"] * 2


def test_the_surer_the_fewer_pixels_are_decided() -> None:
    y = torch.tensor([[[[0.4, 0.6, 0.8]], [[0.1, 0.4, 0.3]]]])
    assert decided(y).tolist() == [[[[False, True, True]], [[False, True, False]]]]
    assert decided(y, sure=0.7).tolist() == [[[[False, False, True]], [[False, False, False]]]]
    assert decided(y, sure=0.3).tolist() == [[[[True, True, True]], [[False, True, False]]]]


# --- the proposer ---


def test_shipped_proposer_offers_distinct_disks() -> None:
    image, labels = disks_image(1)
    inside = np.zeros(image.shape, dtype=bool)
    y, x = np.argwhere(labels == labels.max())[len(np.argwhere(labels == labels.max())) // 2]
    inside[y - 1 : y + 2, x - 1 : x + 2] = True
    case = ps.Case(image).mark(inside)
    proposer = ps.load_proposer("wong2022", device="cpu")
    candidates = proposer.propose(case, 6, seed=1)
    assert 1 <= len(candidates) <= 6
    assert len({p.tobytes() for p in candidates.patches}) == len(candidates)
    assert all((p[case.partial > 0] == case.partial[case.partial > 0]).all() for p in candidates.partial)
    assert np.array_equal(candidates.patches, proposer.propose(case, 6, seed=1).patches)
    with pytest.raises(ValueError, match="no stroke yet"):
        proposer.propose(ps.Case(image))
    with pytest.raises(ValueError, match="constant"):
        proposer.propose(ps.Case(np.full((32, 32), 0.5)).mark(inside))

"""The general conditional VAE and its training."""

import json
from collections import deque
from dataclasses import asdict, replace
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_probseg.cli.main import app
from napari_probseg.dataset.raw import RawDataset
from napari_probseg.io import write
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.advisers import guide
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE, Unshuffle, inflated, shuffled
from napari_probseg.nn.inputs import N_MARKS, network_input
from napari_probseg.nn.presets import load_network
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.tasks import Task
from napari_probseg.training.__main__ import main
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.general import batch_maker, first_network, train_general, write_network
from napari_probseg.training.objective import corrected, loss_of, reconstruction
from napari_probseg.training.pool import Pool
from napari_probseg.training.recipe import RECIPES, GeneralTraining

SMALL = {
    2: GeneralConfig(widths=(8, 16, 24), n_head=16, n_latent=4),
    3: GeneralConfig(ndim=3, n_image_channels=2, widths=(8, 16, 24), n_head=16, n_latent=4),
}
SIZE = {2: 32, 3: 16}
# Mean of the logits of y_m, spread of those of y_s, the control's quality and one of its voxels, as computed when shipped.
SHIPPED_ANSWER = [0.06345, 1.98652, 0.18362, 1.46541]


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def ndim(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def network(ndim: int) -> GeneralCVAE:
    torch.manual_seed(0)
    return GeneralCVAE(SMALL[ndim]).eval()


def an_input(n: int, ndim: int, size: int | None = None) -> torch.Tensor:
    return torch.randn(n, SMALL[ndim].n_image_channels + N_MARKS, *(size or SIZE[ndim],) * ndim)


def a_batch(ndim: int, n: int = 4) -> tuple[Task, Chance]:
    config = GeneralTraining(ndim=ndim, size=SIZE[ndim], n_batch=n)
    return batch_maker(config, None)(torch.Generator().manual_seed(0))


def test_shipped_weights_answer_as_when_they_were_shipped() -> None:
    network = load_network(Path(str(resources.files("napari_probseg"))) / "weights" / "general.safetensors")
    assert isinstance(network, AdvisedCVAE)
    generator = torch.Generator().manual_seed(0)
    image, z = torch.randn(1, 3, 64, 64, generator=generator), torch.randn(3, 8, generator=generator)
    inside, outside = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    inside[:, 30:34, 30:34] = outside[:, 4:8, 4:8] = True
    with torch.inference_mode():
        features = network.features(network_input(image, inside, outside))
        sample = network.decode(features, z, torch.full((3,), 0.5))
        control = network.decode_control(features, torch.ones(1))
    found = [sample.mask.mean(), sample.object.std(), control.quality[0], control.object[0, 40, 21]]
    assert torch.stack(found).tolist() == pytest.approx(SHIPPED_ANSWER, abs=2e-3)


def test_dimensions_are_two_or_three() -> None:
    with pytest.raises(ValueError, match="ndim must be 2 or 3, got 4"):
        GeneralConfig(ndim=4)
    with pytest.raises(ValueError, match="ndim must be 2 or 3, got 1"):
        next(train_general("nowhere", ndim=1))


def test_unshuffle_is_that_of_torch_and_is_undone(ndim: int) -> None:
    x = an_input(2, ndim)
    assert torch.equal(shuffled(Unshuffle()(x)), x)
    if ndim == 2:
        assert torch.equal(Unshuffle()(x), torch.nn.functional.pixel_unshuffle(x, 2))


def test_sample_has_the_shape_of_the_input(network: GeneralCVAE, ndim: int) -> None:
    x = an_input(2, ndim)
    features = network.features(x)
    sample = network.decode(features, torch.randn(6, 4), torch.ones(6))
    assert sample.mask.shape == sample.object.shape == (6, *x.shape[2:])
    assert sample.quality.shape == (6,)
    assert network.decode_control(features, torch.ones(2)).object.shape == (2, *x.shape[2:])
    mean, log_variance = network.encode(features, torch.rand(2, 2, *x.shape[2:]))
    assert mean.shape == log_variance.shape == (2, 4)


def test_many_samples_at_once_are_those_one_by_one(network: GeneralCVAE, ndim: int) -> None:
    x, z = an_input(2, ndim), torch.randn(6, 4)
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


def test_what_was_accepted_counts_as_marked_to_a_network_that_knows_no_difference(
    network: GeneralCVAE, ndim: int
) -> None:
    x = an_input(1, ndim)
    x[:, -N_MARKS:] = 0
    accepted, marked = x.clone(), x.clone()
    accepted[:, -1, :4], accepted[:, -1, 8:] = 1, -1
    marked[:, -3, :4], marked[:, -2, 8:] = 1, 1
    assert torch.allclose(network.features(accepted).coarse, network.features(marked).coarse)


def test_latent_and_reach_matter_before_training(network: GeneralCVAE, ndim: int) -> None:
    features = network.features(an_input(1, ndim))
    z = torch.randn(2, 4)
    samples = network.decode(features, z, torch.ones(2)).object
    assert not torch.allclose(samples[0], samples[1])
    reaches = network.decode(features, z[:1].repeat(2, 1), torch.tensor([0.1, 1.0])).mask
    assert not torch.allclose(reaches[0], reaches[1])


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_batch_is_of_scenes_and_real_crops_as_asked_for(share: float) -> None:
    instance = torch.zeros(3, 32, 32, dtype=torch.uint8)
    instance[:, 8:24, 8:24] = 1
    kind = torch.zeros(3, 64, dtype=torch.uint8)
    kind[:, 1] = 1
    image = 255 * instance[:, None].repeat(1, 3, 1, 1)
    pool = Pool(image.numpy(), instance.numpy(), kind.numpy())
    batches = batch_maker(GeneralTraining(size=32, n_batch=4, share_real=share), pool)
    task, _ = batches(torch.Generator().manual_seed(0))
    assert task.image.shape == (4, 3, 32, 32)
    assert task.target.flatten(1).any(1).all()


def test_reconstruction_ignores_what_is_already_decided(network: GeneralCVAE, ndim: int) -> None:
    task, _ = a_batch(ndim)
    sample = network.decode(
        network.features(network_input(task.image, task.inside, task.outside)), torch.zeros(4, 4), task.reach
    )
    known = task.inside | task.outside
    assert known.any(), "test invalid"
    before = reconstruction(sample, task)
    wild = type(sample)(sample.mask, torch.where(known, 50.0, sample.object), sample.quality)
    assert torch.allclose(before, reconstruction(wild, task))


def test_correction_only_adds_true_marks(network: GeneralCVAE, ndim: int) -> None:
    task, chance = a_batch(ndim)
    after = corrected(network, task, chance, GeneralTraining())
    assert (after.inside & task.inside).sum() == task.inside.sum()
    assert (after.inside | after.outside).sum() > (task.inside | task.outside).sum(), "test invalid"
    assert not (after.inside & ~task.target).any()
    assert not (after.outside & task.target).any()


def test_training_overfits_one_batch(ndim: int) -> None:
    config = GeneralTraining(ndim=ndim, n_samples=2, n_corrections=0)
    batch = a_batch(ndim, n=4 if ndim == 2 else 1)
    torch.manual_seed(0)
    network = GeneralCVAE(SMALL[ndim])
    steps = list(fit(network, lambda _: batch, loss_of(config), FitConfig(60, learning_rate=5e-3, n_warmup=5)))
    assert steps[-1].losses["control"] < 0.5 * steps[0].losses["control"]
    assert steps[-1].losses["posterior"] < 0.6 * steps[0].losses["posterior"]


def test_same_seed_same_training(ndim: int, tmp_path: Path) -> None:
    config = replace(RECIPES[ndim].training, size=SIZE[ndim], n_batch=2, n_samples=2)
    networks = []
    for folder in ("a", "b"):
        progress = train_general(
            tmp_path / folder, ndim=ndim, config=config, network_config=SMALL[ndim], fit_config=FitConfig(2)
        )
        assert len(list(progress)) == 2
        networks.append(load_network(tmp_path / folder / f"{RECIPES[ndim].name}.safetensors"))
    assert isinstance(networks[0], GeneralCVAE)
    assert networks[0].config.ndim == ndim
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_in_half_precision_take_half_of_the_room_and_are_reckoned_with_in_single(tmp_path: Path) -> None:
    network = GeneralCVAE(SMALL[2])
    paths = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    for path, half in zip(paths, (False, True), strict=True):
        write_weights(path, network.state_dict(), preset="general", config=asdict(SMALL[2]), half=half)
    assert paths[1].stat().st_size < 0.6 * paths[0].stat().st_size
    whole, halved = (load_network(path).state_dict() for path in paths)
    for name, value in whole.items():
        assert halved[name].dtype == value.dtype
        assert torch.allclose(halved[name], value, rtol=1e-3, atol=1e-6)


def test_weights_of_volumes_do_not_start_images(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_weights(path, GeneralCVAE(SMALL[3]).state_dict(), preset="general", config=asdict(SMALL[3]))
    with pytest.raises(ValueError, match="holds another network: start from weights of 'general'"):
        next(train_general(tmp_path, ndim=2, start=path))


def test_a_network_of_images_starts_as_one_that_sees_slices() -> None:
    torch.manual_seed(0)
    flat = GeneralCVAE(SMALL[2])
    with torch.no_grad():
        for bias in (p for p in flat.parameters() if p.ndim == 1):
            bias.add_(0.1 * torch.randn_like(bias))
    grey, marks = torch.randn(2, 1, 16, 16), (torch.rand(2, 2, 16, 16) > 0.9).float()
    z, reach = torch.randn(4, 4), torch.rand(4)
    image, slices = (torch.cat([grey.expand(-1, n, -1, -1), marks, torch.zeros_like(grey)], 1) for n in (3, 2))
    volume = slices[:, :, None].expand(-1, -1, 16, -1, -1)
    volumes = inflated(flat)
    one, every = flat.decode(flat.features(image), z, reach), volumes.decode(volumes.features(volume), z, reach)
    for part in ("object", "mask"):
        torch.testing.assert_close(getattr(every, part), getattr(one, part)[:, None].expand(-1, 16, -1, -1))
    torch.testing.assert_close(
        volumes.encode(volumes.features(volume), volume[:, -3:-1]), flat.encode(flat.features(image), marks)
    )


def test_an_advised_network_tells_what_was_accepted_from_strokes_and_hears_the_advisers(ndim: int) -> None:
    torch.manual_seed(0)
    network = GeneralCVAE(replace(SMALL[ndim], advised=True)).eval()
    x = an_input(1, ndim, 32)
    x[:, -N_MARKS:] = 0
    stroke, accepted = x.clone(), x.clone()
    stroke[:, -3, 4:8, 4:8] = accepted[:, -1, 4:8, 4:8] = 1
    seen = [network.features(given).fine for given in (x, stroke, accepted)]
    assert not any(torch.allclose(a, b) for a, b in combinations(seen, 2))
    guides = guide(torch.cat([x, stroke]))
    assert not guides[0].any(), "without a stroke nothing is said"
    assert all(channel.any() for i, channel in enumerate(guides[1]) if i not in (1, 2)), "nothing outside, nor accepted"


def test_a_network_that_hears_the_advisers_starts_as_one_that_does_not(ndim: int, tmp_path: Path) -> None:
    plain = GeneralCVAE(SMALL[ndim]).eval()
    write_network(tmp_path / "plain.safetensors", plain)
    advised = first_network(tmp_path / "plain.safetensors", replace(SMALL[ndim], advised=True))
    assert isinstance(advised, GeneralCVAE)
    assert advised.config.advised
    x = an_input(1, ndim, 32)
    x[:, -N_MARKS:] = 0
    x[:, -3, 4:8, 4:8] = 1
    torch.testing.assert_close(advised.features(x).fine, plain.features(x).fine)
    write_network(tmp_path / "advised.safetensors", advised)
    again = first_network(tmp_path / "advised.safetensors", replace(SMALL[ndim], advised=True))
    torch.testing.assert_close(again.features(x).fine, plain.features(x).fine)


def test_a_network_of_volumes_with_advisers_starts_from_one_of_images_without(tmp_path: Path) -> None:
    write_network(tmp_path / "plain.safetensors", GeneralCVAE(SMALL[2]))
    config = replace(SMALL[3], advised=True)
    volumes = first_network(tmp_path / "plain.safetensors", config)
    assert volumes.config == config
    write_network(tmp_path / "advised.safetensors", GeneralCVAE(replace(SMALL[2], advised=True)))
    with pytest.raises(ValueError, match="holds another network: start from weights of 'general3d'"):
        first_network(tmp_path / "advised.safetensors", config)


def test_an_advised_network_survives_its_file(ndim: int, tmp_path: Path) -> None:
    network = GeneralCVAE(replace(SMALL[ndim], advised=True)).eval()
    write_network(tmp_path / "advised.safetensors", network)
    again, x = load_network(tmp_path / "advised.safetensors"), an_input(2, ndim, 32)
    assert isinstance(again, GeneralCVAE)
    assert again.config.advised
    torch.testing.assert_close(again.features(x).fine, network.features(x).fine)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Return three data sets of three images of a disk."""
    label = (np.hypot(*np.indices((40, 40)) - 20.0) < 9).astype(np.uint8)
    for name in ("Dataset001_Cells", "Dataset002_Lesions", "Dataset003_Organs"):
        write_set(tmp_path / "sets" / name, label)
    return tmp_path / "sets"


def write_set(folder: Path, label: np.ndarray) -> None:
    """Write a data set of three images of an object in noise."""
    noise = np.random.default_rng(0).normal(0, 0.2, label.shape)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"labels": {"disk": 1}, "file_ending": ".tif"}))
    for i in range(3):
        write(folder / "imagesTr" / f"{i}_0000.tif", (label + noise).astype(np.float32))
        write(folder / "labelsTr" / f"{i}.tif", label)


def trained_without(left_out: tuple[str, ...], sets: Path, folder: Path) -> tuple[str, ...]:
    """Train a step; return what was seen."""
    config = GeneralTraining(size=32, n_batch=2, n_samples=2, n_crops=2)
    steps = train_general(
        folder, data=sets, without=left_out, config=config, network_config=SMALL[2], fit_config=FitConfig(1)
    )
    deque(steps, maxlen=0)
    return Pool.load(folder / "pool.zip").sets


def test_what_is_left_out_is_not_seen(sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, load = set(), RawDataset.load
    monkeypatch.setattr(RawDataset, "load", lambda self, case: seen.add(self.folder.name) or load(self, case))
    left_out = ("Cells", "Dataset002_Lesions")
    assert trained_without(left_out, sets, tmp_path / "a") == ("Dataset003_Organs",)
    assert seen == {"Dataset003_Organs"}
    with pytest.raises(FileNotFoundError, match="no data set Cell: there are Dataset001_Cells, Dataset002"):
        trained_without(("Cell",), sets, tmp_path / "b")
    assert len(trained_without((), sets, tmp_path / "b")) == 3, "test invalid"


def test_crops_of_other_sets_are_not_taken_over(sets: Path, tmp_path: Path) -> None:
    trained_without((), sets, tmp_path / "a")
    assert len(trained_without((), sets, tmp_path / "a")) == 3, "the same again goes on"
    with pytest.raises(ValueError, match=r"Cells, .*not on Dataset002_Lesions, Dataset003_Organs: choose an empty"):
        trained_without(("Cells",), sets, tmp_path / "a")


def test_a_packed_folder_is_all_that_a_training_needs(sets: Path, tmp_path: Path) -> None:
    trained_without((), sets, tmp_path / "a")
    packed = tmp_path / "b"
    packed.mkdir()
    (packed / "pool.zip").write_bytes((tmp_path / "a" / "pool.zip").read_bytes())
    begun = GeneralCVAE(SMALL[2])
    write_weights(packed / "start.safetensors", begun.state_dict(), preset="general", config=asdict(SMALL[2]))
    config = GeneralTraining(size=32, n_batch=2, n_samples=2)
    training = train_general(packed, without=("Cells",), config=config, fit_config=FitConfig(1, learning_rate=0.0))
    deque(training, maxlen=0)
    assert json.loads((packed / "sets.json").read_text())["sets"] == ["Dataset002_Lesions", "Dataset003_Organs"]
    trained = load_network(packed / "general.safetensors").state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in begun.state_dict().items())
    with pytest.raises(FileNotFoundError, match="no crops of a data set Cell: choose among Dataset001_Cells"):
        next(train_general(packed, without=("Cell",)))
    with pytest.raises(ValueError, match="no data set is left that there are crops of: leave fewer"):
        next(train_general(packed, without=("Cells", "Lesions", "Organs")))


def test_a_training_in_minutes_ends_by_them_alone(ndim: int) -> None:
    recipe = RECIPES[ndim]
    assert recipe.lasting() == recipe.fit
    assert recipe.lasting(minutes=7.0).minutes == 7
    assert recipe.lasting(minutes=7.0).n_steps > 100_000, "the recipe's own number of steps would end it in its middle"
    assert (recipe.lasting(steps=5).n_steps, recipe.lasting(steps=5, seed=3).minutes) == (5, 0)
    assert recipe.lasting(seed=3) == replace(recipe.fit, seed=3)


def test_volumes_are_packed_and_trained_on_where_little_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "sets"
    z, y, x = np.mgrid[:24, :40, :40]
    ball = ((z - 12) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 9**2).astype(np.uint8)
    write_set(data / "Dataset001_Balls", ball)
    write_set(data / "Dataset002_Disks", ball[12])
    monkeypatch.setattr("napari_probseg.cli.train.MIN_PACKED", {3: 4})
    monkeypatch.setitem(RECIPES, 3, replace(RECIPES[3], training=replace(RECIPES[3].training, n_crops=2)))
    packed = CliRunner().invoke(app, ["train", "pack3d", str(tmp_path / "run"), "--data", str(data)])
    assert packed.exit_code == 0, packed.output
    assert Pool.load(tmp_path / "run" / "pool.zip").image.shape == (2, 2, 64, 64, 64), "those of volumes alone"
    monkeypatch.setattr("sys.argv", ["", str(tmp_path / "run"), "--volumes", "--minutes", "0.0001", "--batch", "2"])
    main()
    assert "of the time went into data" in capsys.readouterr().out
    assert isinstance(load_network(tmp_path / "run" / "general3d.safetensors"), GeneralCVAE)
    monkeypatch.setattr("sys.argv", ["", str(tmp_path), "--volumes"])
    with pytest.raises(SystemExit):
        main()
    assert "write it with napari-probseg train pack3d" in capsys.readouterr().err

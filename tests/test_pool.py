"""Crops of data sets, cut for images and for volumes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_probseg.dataset.raw import RawDataset
from napari_probseg.io import write
from napari_probseg.simulate.noise import Chance
from napari_probseg.simulate.tasks import make_task
from napari_probseg.training import crops
from napari_probseg.training.pool import Pool, save_pool

SHAPE = (12, 20, 16)
SPACING = (2.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def small_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "SIDE_VOXELS", {2: 32, 3: 16})


@pytest.fixture
def volumes(tmp_path: Path) -> RawDataset:
    """Return two channels and two bright balls of different classes, in mm: spheres."""
    folder = tmp_path / "Dataset001_Balls"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    about = {"file_ending": ".nii.gz", "labels": {"background": 0, "a": 1, "b": 2}}
    (folder / "dataset.json").write_text(json.dumps(about))
    z, y, x = (axis * mm for axis, mm in zip(np.indices(SHAPE), SPACING, strict=True))
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[np.sqrt((z - 8) ** 2 + (y - 6) ** 2 + (x - 8) ** 2) < 5] = 1
    label[np.sqrt((z - 18) ** 2 + (y - 14) ** 2 + (x - 8) ** 2) < 4] = 2
    for i in range(3):
        write(folder / "labelsTr" / f"case_{i}.nii.gz", label, spacing=SPACING)
        for channel, grey in enumerate((100.0, -3.0)):
            image = (label > 0) * np.float32(grey)
            write(folder / "imagesTr" / f"case_{i}_{channel:04}.nii.gz", image, spacing=SPACING)
    return RawDataset(folder)


def saved(path: Path, dataset: RawDataset, *, ndim: int) -> Pool:
    assert list(save_pool(path, [dataset], n_per_dataset=9, seed=0, ndim=ndim, share_pseudo=0)) == [dataset.folder.name]
    return Pool.load(path)


@pytest.mark.parametrize(("ndim", "shape"), [(2, (9, 3, 32, 32)), (3, (9, 2, 16, 16, 16))])
def test_crops_show_what_is_labelled(tmp_path: Path, volumes: RawDataset, ndim: int, shape: tuple[int, ...]) -> None:
    pool = saved(tmp_path / "pool.zip", volumes, ndim=ndim)
    assert pool.image.shape == shape
    labelled = pool.instance > 0
    assert labelled.flatten(1).any(1).all()
    for channel, is_bright in ((0, True), (1, False)):
        middle = (pool.image[:, channel] > 127) == is_bright
        assert (middle == labelled).float().mean() > 0.9, "each channel has its own range"
    assert set(pool.kind.unique().tolist()) == {0, 1, 2}


def test_crops_of_volumes_are_cubes_in_mm(tmp_path: Path, volumes: RawDataset) -> None:
    pool = saved(tmp_path / "pool.zip", volumes, ndim=3)
    extents = []
    for labels in pool.instance:
        for ball in (labels == i for i in range(1, int(labels.max()) + 1)):
            where = torch.nonzero(ball)
            if len(where) and where.min() > 0 and where.max() < 15:
                extents.append(torch.stack([where[:, a].max() - where[:, a].min() + 1.0 for a in range(3)]))
    assert extents, "test invalid"
    ratio = torch.stack(extents)
    assert (ratio[:, 0] / ratio[:, 1]).median() == pytest.approx(1, abs=0.25), "a sphere in mm is as deep as it is wide"


@pytest.mark.parametrize("ndim", [2, 3])
def test_same_seed_same_pool_and_same_scene(tmp_path: Path, volumes: RawDataset, ndim: int) -> None:
    first, second = (saved(tmp_path / f"{i}.zip", volumes, ndim=ndim) for i in range(2))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.instance, second.instance)
    scenes = [pool.scene(6, 16, Chance(torch.Generator().manual_seed(1))) for pool in (first, second)]
    assert scenes[0].image.shape == (6, first.image.shape[1], *(16,) * ndim)
    assert torch.equal(scenes[0].image, scenes[1].image)
    task = make_task(scenes[0], Chance(torch.Generator().manual_seed(2)))
    assert task.inside.any()
    assert not (task.inside & ~task.target).any()


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 16, 16, 16)])
def test_a_pool_is_read_as_it_was_written_but_for_a_picture_s_loss(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((4, *shape)), (0, 0, *[2] * (len(shape) - 1)))
    image = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
    instance, kind = rng.integers(0, 64, (4, *shape[1:]), dtype=np.uint8), rng.integers(0, 3, (4, 64), dtype=np.uint8)
    Pool(image, instance, kind, sets=("a", "b"), origin=np.array([0, 0, 0, 1])).save(tmp_path / "pool.zip")
    again = Pool.load(tmp_path / "pool.zip")
    assert np.abs(again.image.numpy().astype(int) - image).mean() < 4
    assert np.array_equal(again.instance.numpy(), instance)
    assert np.array_equal(again.kind.numpy(), kind)
    assert again.sets == ("a", "b")
    assert again.origin.tolist() == [0, 0, 0, 1]


def test_further_channels_of_grey_cost_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 1, 16, 16, 16), dtype=np.uint8)
    instance, kind = np.zeros((4, 16, 16, 16), np.uint8), np.zeros((4, 64), np.uint8)
    sizes = []
    for n in (1, 2):
        Pool(noise.repeat(n, 1), instance, kind).save(tmp_path / "pool.zip")
        sizes.append((tmp_path / "pool.zip").stat().st_size)
    assert sizes[1] < 1.05 * sizes[0]


def test_every_data_set_is_drawn_from_alike() -> None:
    image = np.zeros((100, 3, 32, 32), np.uint8)
    image[99:] = 255
    instance, kind = np.ones((100, 32, 32), np.uint8), np.ones((100, 64), np.uint8)
    pool = Pool(image, instance, kind, origin=np.array([0] * 99 + [1]))
    scene = pool.scene(400, 16, Chance(torch.Generator().manual_seed(0)))
    bright = scene.image.flatten(1).mean(1)
    assert 0.35 < (bright > 0.7).float().mean() < 0.65


def test_some_crops_of_each_set_are_held_out() -> None:
    image = np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(3, 1)
    pool = Pool(image, image[:, 0], np.zeros((200, 64), np.uint8), origin=np.repeat([0, 1], 100))
    training, held_out = pool.parted(0.1)
    assert (len(training), len(held_out)) == (180, 20)
    assert np.bincount(held_out.origin).tolist() == [10, 10]
    assert not set(training.image.flatten().tolist()) & set(held_out.image.flatten().tolist())


def test_super_pixels_are_kinds_of_their_own(tmp_path: Path, volumes: RawDataset) -> None:
    list(save_pool(tmp_path / "pool.zip", [volumes], n_per_dataset=9, seed=0, share_pseudo=1))
    pool = Pool.load(tmp_path / "pool.zip")
    assert (pool.kind == torch.arange(64)).all()
    assert pool.instance.flatten(1).amax(1).min() >= 1


def test_pool_says_what_is_wrong(tmp_path: Path, volumes: RawDataset) -> None:
    with pytest.raises(ValueError, match="no data set holds labelled volumes"):
        list(save_pool(tmp_path / "pool.zip", [], n_per_dataset=1, seed=0, ndim=3))
    np.savez(tmp_path / "old.npz", image=np.zeros(3))
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04")
    for name in ("old.npz", "torn.zip"):
        with pytest.raises(ValueError, match=f"{name} holds no crops of this release .*: delete it"):
            Pool.load(tmp_path / name)


def test_the_crops_of_some_data_sets() -> None:
    image = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(3, 1)
    pool = Pool(image, image[:, 0], np.zeros((6, 64), np.uint8), sets=("a", "b", "c"), origin=np.array([0, 1, 2] * 2))
    some = pool.only(("a", "c"))
    assert some.sets == ("a", "c")
    assert some.image[:, 0, 0, 0].tolist() == [0, 2, 3, 5]
    assert some.origin.tolist() == [0, 1, 0, 1]

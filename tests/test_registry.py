"""Each weights file is loaded once, shared, and freed when it is replaced."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import weakref
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import napari_probseg as ps
import untrained
from napari_probseg.active_learning.validate import load_models
from napari_probseg.batch import BatchConfig, Job, complete_file
from napari_probseg.engine import models
from napari_probseg.io import write
from napari_probseg.proposers import registry
from napari_probseg.proposers.networks import Networks
from napari_probseg.training.general import write_network

CPU = torch.device("cpu")


class Loader:
    """Makes a network of a file, and remembers which files it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: Path) -> nn.Module:
        self.asked.append(path.name)
        return nn.Linear(1, 1)


@pytest.fixture
def load() -> Loader:
    return Loader()


def files(folder: Path, n: int) -> list[Path]:
    paths = [folder / f"{i}.safetensors" for i in range(n)]
    for path in paths:
        path.write_bytes(b"weights")
    return paths


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Begin with no network loaded; count what is loaded."""
    from napari_probseg.nn.presets import load_network

    class Counting(Loader):
        def __call__(self, path: Path) -> nn.Module:
            self.asked.append(path.name)
            return load_network(path)

    counting = Counting()
    monkeypatch.setattr(registry, "NETWORKS", Networks(load=counting))
    return counting


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for ndim, network in untrained.networks().items():
        write_network(tmp_path / f"{registry.GENERAL[ndim]}.safetensors", network)
    return tmp_path / "general.safetensors"


def test_a_file_is_loaded_once_by_any_of_its_names(load: Loader, tmp_path: Path) -> None:
    (path,), networks = files(tmp_path, 1), Networks(load=load)
    (tmp_path / "below").mkdir()
    first = networks.get(path, CPU)
    assert networks.get(tmp_path / "below" / ".." / path.name, CPU) is first and not first.training
    assert load.asked == ["0.safetensors"]


def test_another_device_has_a_network_of_its_own(load: Loader, tmp_path: Path) -> None:
    (path,), networks = files(tmp_path, 1), Networks(load=load)
    assert networks.get(path, CPU) is not networks.get(path, torch.device("meta"))


def test_a_replaced_file_is_loaded_again_and_its_old_network_is_freed(load: Loader, tmp_path: Path) -> None:
    (path,), networks = files(tmp_path, 1), Networks(load=load)
    old = weakref.ref(networks.get(path, CPU))
    other = tmp_path / "new"
    other.write_bytes(b"weights")
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)  # of the same time and size: another file nevertheless
    other.replace(path)
    gc.collect()
    assert old() is not None, "test invalid"
    new = networks.get(path, CPU)
    gc.collect()
    assert old() is None and len(load.asked) == 2
    os.utime(path, ns=(1, 1))
    assert networks.get(path, CPU) is not new


def test_unused_networks_are_freed_but_for_the_latest(load: Loader, tmp_path: Path) -> None:
    paths, networks = files(tmp_path, 4), Networks(n_kept=2, load=load)
    used = networks.get(paths[0], CPU)
    unused = [weakref.ref(networks.get(path, CPU)) for path in paths[1:]]
    gc.collect()
    assert [ref() is not None for ref in unused] == [False, True, True]
    assert networks.get(paths[0], CPU) is used, "what is used is never loaded twice"
    assert len(load.asked) == 4


def test_who_asks_while_it_is_loaded_waits_for_it(tmp_path: Path) -> None:
    (path,), began, go_on = files(tmp_path, 1), threading.Event(), threading.Event()
    asked = []

    def slowly(path: Path) -> nn.Module:
        asked.append(path)
        began.set()
        assert go_on.wait(20)
        return nn.Linear(1, 1)

    networks, found = Networks(load=slowly), []
    threads = [threading.Thread(target=lambda: found.append(networks.get(path, CPU))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert began.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert len(asked) == 1 and len(found) == 3 and len(set(map(id, found))) == 1


def test_a_file_that_cannot_be_loaded_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "general.safetensors"
    path.write_bytes(b"nothing")
    networks = Networks()
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            networks.get(path, CPU)


def test_proposer_completer_judge_and_batch_share_their_networks(
    networks: Loader, weights: Path, tmp_path: Path
) -> None:
    proposer = ps.load_proposer(weights, device="cpu")
    completer = ps.load_completer(weights, device="cpu")
    judged = load_models(weights, device="cpu")
    for maker in (completer, *judged):
        assert all(maker.networks[ndim] is proposer.networks[ndim] for ndim in (2, 3))
    image, inside = np.random.default_rng(0).random((32, 32), dtype=np.float32), np.zeros((32, 32), dtype=np.uint8)
    inside[14:18, 14:18] = 1
    write(tmp_path / "image.tif", image)
    write(tmp_path / "inside.tif", inside, labels=True)
    for i in range(2):
        job = Job(tmp_path / "image.tif", tmp_path / "inside.tif", None, tmp_path / f"{i}.tif")
        complete_file(job, BatchConfig(str(weights), "cpu"))
    assert sorted(networks.asked) == ["general.safetensors", "general3d.safetensors"]


def test_fine_tuning_leaves_the_shared_network_as_it_is(networks: Loader, weights: Path) -> None:
    from napari_probseg.training.adapt import AdaptConfig

    completer, proposer = ps.load_completer(weights, device="cpu"), ps.load_proposer(weights, device="cpu")
    before = {name: tensor.clone() for name, tensor in proposer.networks[2].state_dict().items()}
    image = np.random.default_rng(0).random((48, 48), dtype=np.float32)
    inside, outside = np.zeros((2, 48, 48), dtype=bool)
    inside[20:24, 20:24] = outside[2:5, 2:5] = True
    list(completer.adapting(ps.Case(image).mark(inside, outside), AdaptConfig(n_rounds=1, n_steps=2)))
    assert all(torch.equal(before[name], now) for name, now in proposer.networks[2].state_dict().items())


def test_who_shares_a_network_knows_where_it_has_gone(networks: Loader, weights: Path) -> None:
    completer, proposer = ps.load_completer(weights, device="cpu"), ps.load_proposer(weights, device="cpu")
    for network in proposer.networks.values():  # as for lack of memory, but there may be one device alone here
        network.to("meta")
    assert completer.device == proposer.device == torch.device("meta")


def test_new_weights_of_a_name_are_used(networks: Loader, weights: Path) -> None:
    before = ps.load_completer(weights, device="cpu").networks[2]
    torch.manual_seed(1)
    shutil.copy(weights, weights.with_suffix(".old"))
    write_network(weights, type(before)(before.config))
    after = ps.load_completer(weights, device="cpu").networks[2]
    assert not all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_every_entry_can_be_loaded() -> None:
    for name, make in registry.WITHOUT_WEIGHTS.items():
        assert make().name == name == ps.load_completer(name).name
    assert registry.PROPOSERS.keys() | registry.COMPLETERS.keys() <= {
        kind for kind in vars(registry).values() if isinstance(kind, type) and issubclass(kind, nn.Module)
    }


def test_options_are_frozen_values() -> None:
    makers = [
        untrained.cvae_proposer(),
        untrained.unet_cut(),
        untrained.trained_unet(),
        ps.load_proposer("wong2022", device="cpu"),
        *(make() for make in registry.WITHOUT_WEIGHTS.values()),
    ]
    for maker in makers:
        assert is_dataclass(maker.config) and fields(maker.config)
        with pytest.raises(AttributeError):
            setattr(maker.config, fields(maker.config)[0].name, None)


def test_the_engine_keeps_the_latest_fine_tuned_completers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(models, "_load_completer", lambda name, device: name)
    monkeypatch.setattr(models, "_with_weights", lambda _, model: loaded.append(model.key) or model.key)
    resources = models.Resources()
    tuned = [models.Model.learnt("general", bytes([i])) for i in range(1, models.MAX_KEPT_TUNED + 2)]
    for model in (*tuned[:-1], tuned[0], tuned[-1], tuned[0], tuned[1]):
        assert resources.completer(model, "cpu") == model.key
    assert loaded == [model.key for model in (*tuned, tuned[1])], "the one that was not asked for longest was freed"
    assert not resources.is_loading


def test_the_engine_shares_the_networks(networks: Loader, weights: Path) -> None:
    resources, model = models.Resources(), models.Model(str(weights))
    proposer, completer = resources.proposer(model, "cpu"), resources.completer(model, "cpu")
    assert proposer.networks[2] is completer.networks[2] is resources.proposer(model, "cpu").networks[2]
    assert len(networks.asked) == 2


@pytest.mark.parametrize("name", ["general", "intensities"])
def test_a_label_that_means_nothing_to_a_completer_is_told(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' completes? any object and knows? no label 'liver': leave it out"):
        ps.load_completer(name, label="liver", device="cpu")

"""The network that judges the advisers, and the refiner that has the last word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from napari_probseg.dataset.targets import Target
from napari_probseg.nn import efficientnet
from napari_probseg.nn.advised import AdvisedConfig, AdvisedCVAE, pretrained
from napari_probseg.nn.inputs import N_MARKS, network_input
from napari_probseg.nn.presets import build, load_network
from napari_probseg.nn.refiner import N_SEEN, Refiner, facts_of, refiner_input
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.general import batch_maker, train_general
from napari_probseg.training.objective import loss_of
from napari_probseg.training.recipe import RECIPES

SMALL = replace(RECIPES[2].training, size=32, n_batch=4, n_samples=2, n_corrections=0)


@pytest.fixture(scope="module")
def network() -> AdvisedCVAE:
    torch.manual_seed(0)
    return AdvisedCVAE().eval()


def an_input(n: int = 2) -> torch.Tensor:
    marks = torch.zeros(n, 2, 64, 64, dtype=torch.bool)
    marks[:, 0, 30:34, 30:34] = True
    marks[:, 1, 4:8, 4:8] = True
    return network_input(torch.randn(n, 3, 64, 64), marks[:, 0], marks[:, 1])


def test_answers_have_the_shape_of_the_input(network: AdvisedCVAE) -> None:
    features = network.features(an_input())
    sample = network.decode(features, torch.randn(6, network.n_latent), torch.ones(6))
    assert sample.mask.shape == sample.object.shape == (6, 64, 64)
    control = network.decode_control(features, torch.ones(2))
    assert control.object.shape == (2, 64, 64)
    assert control.quality.shape == (2,)
    mean, log_variance = network.encode(features, torch.rand(2, 2, 64, 64))
    assert mean.shape == log_variance.shape == (2, network.n_latent)


def test_marks_and_what_was_accepted_are_seen(network: AdvisedCVAE) -> None:
    x = an_input(1)
    seen = network.guided(x)
    accepted = x.clone()
    accepted[:, -1, :10] = 1
    assert not torch.equal(network.guided(accepted), seen)
    as_marks = AdvisedCVAE(AdvisedConfig(accepted=False)).eval()
    assert torch.equal(as_marks.guided(x)[:, 2], torch.zeros(1, 64, 64))
    assert as_marks.guided(accepted)[:, 0, :10].all()


def test_an_adviser_that_is_not_heard_says_nothing() -> None:
    deaf = AdvisedCVAE(AdvisedConfig(advisers=("walker",)))
    said = deaf.guided(an_input(1))[0, N_MARKS:]
    assert [bool(channel.any()) for channel in said] == [False, False, True, False]
    with pytest.raises(ValueError, match="there is no adviser 'oracle': choose among geodesic"):
        AdvisedConfig(advisers=("oracle",))


def test_a_configuration_survives_its_file() -> None:
    config = AdvisedConfig(advisers=("watershed",), accepted=False)
    as_json = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    built = build("advised", as_json)
    assert isinstance(built, AdvisedCVAE)
    assert built.config == config


def published() -> dict[str, torch.Tensor]:
    """Weights of EfficientNet-Lite0 by their published names, at random."""
    torch.manual_seed(0)
    found: dict[str, torch.Tensor] = {}

    def add(convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        found[f"{convolution}.weight"] = torch.randn(shape) / (shape[1] * shape[2] ** 2) ** 0.5
        for name in ("weight", "bias", "running_mean"):
            found[f"{norm}.{name}"] = torch.rand(shape[0])
        found[f"{norm}.running_var"] = torch.rand(shape[0]) + 0.5

    add("_conv_stem", "_bn0", (32, 3, 3, 3))
    n, number = 32, 0
    for stage in efficientnet.STAGES:
        for _ in range(stage.n_blocks):
            wide, block = n * stage.expansion, f"_blocks.{number}"
            if stage.expansion > 1:
                add(f"{block}._expand_conv", f"{block}._bn0", (wide, n, 1, 1))
            add(f"{block}._depthwise_conv", f"{block}._bn1", (wide, 1, stage.kernel, stage.kernel))
            add(f"{block}._project_conv", f"{block}._bn2", (stage.width, wide, 1, 1))
            n, number = stage.width, number + 1
    return found


def test_a_folded_convolution_is_convolution_and_norm() -> None:
    weights = published()
    encoder = pretrained(None, weights).encoder
    convolution = nn.Conv2d(3, 32, 3, 2, padding=1, bias=False)
    norm = nn.BatchNorm2d(32, eps=1e-3).eval()
    convolution.load_state_dict({"weight": weights["_conv_stem.weight"]})
    norm.load_state_dict(
        {k.removeprefix("_bn0."): v for k, v in weights.items() if k.startswith("_bn0.")}, strict=False
    )
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(encoder.stem(image), norm(convolution(image)))


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(KeyError):
        pretrained(None, {"conv1.weight": torch.zeros(1)})


def test_training_overfits_one_batch_and_learns_how_good_it_is() -> None:
    batch = batch_maker(SMALL, None)(torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    steps = list(fit(AdvisedCVAE(), lambda _: batch, loss_of(SMALL), FitConfig(25, learning_rate=2e-3, n_warmup=3)))
    assert steps[-1].losses["control"] < 0.6 * steps[0].losses["control"]
    assert steps[-1].losses["estimate"] < steps[0].losses["estimate"]


def test_training_lasts_as_many_minutes_as_were_asked_for_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count()
    clock = SimpleNamespace(monotonic=lambda: 0.3 * next(ticks))  # a step takes two ticks: data, and all the rest
    monkeypatch.setattr("napari_probseg.training.fit.time", clock)
    config = replace(SMALL, n_batch=2, n_corrections=3)
    recipe = FitConfig(10_000, minutes=0.05, n_warmup=1, rates=(("encoder.", 0.2),), save_every=0)
    first = []
    for progress in train_general(tmp_path, fit_config=recipe, config=config):
        first.append(progress)
        if len(first) == 2:
            break
    assert first[-1].n_steps < 10_000, "how many there will be is foreseen from the time"
    rest = list(train_general(tmp_path, fit_config=recipe, config=config))
    assert rest[0].step == 3, "it goes on"
    assert rest[-1].step == rest[-1].n_steps == 5
    assert sum(p.seconds for p in [*first, *rest]) == pytest.approx(3)
    network = load_network(tmp_path / "general.safetensors")
    assert isinstance(network, AdvisedCVAE)


def test_parts_of_a_network_are_trained_at_rates_of_their_own() -> None:
    network = nn.ModuleDict({"slow": nn.Linear(1, 1, bias=False), "fast": nn.Linear(1, 1, bias=False)})
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    config = FitConfig(1, n_warmup=1, weight_decay=0, rates=(("slow.", 0.1),), average=0)
    batches = torch.ones(1, 1)
    list(fit(network, lambda _: batches, lambda n, x, _: {"total": (n["slow"](x) + n["fast"](x)).sum()}, config))
    moved = {name: float((p.detach() - before[name]).abs()) for name, p in network.named_parameters()}
    assert moved["slow.weight"] == pytest.approx(0.1 * moved["fast.weight"], rel=1e-3)


def test_an_untrained_refiner_leaves_the_answer_as_it_is() -> None:
    x, probability = an_input(1), torch.rand(1, 64, 64) * 0.9 + 0.05
    seen = refiner_input(x, probability, facts_of(1, 1, 1.0, 0.5, (0.0, 0.0))[None])
    torch.testing.assert_close(Refiner()(seen).sigmoid(), probability)


def test_a_refiner_learns_that_the_network_is_wrong() -> None:
    x = an_input(1)
    truth = torch.zeros(1, 64, 64)
    truth[:, 16:48, 16:48] = 1
    x[:, :3] = 2 * truth[:, None] - 1
    seen = refiner_input(x, torch.full((1, 64, 64), 0.4), facts_of(1, 1, 1.0, 0.5, (0.0, 0.0))[None])
    refiner = Refiner()
    loss = nn.functional.binary_cross_entropy_with_logits

    def step(network: nn.Module, batch: torch.Tensor, _: int) -> dict[str, torch.Tensor]:
        return {"total": loss(network(batch), truth)}

    list(fit(refiner, lambda _: seen, step, FitConfig(60, learning_rate=1e-2, n_warmup=3, average=0.5)))
    assert ((refiner(seen) > 0) == (truth > 0)).float().mean() > 0.95


def test_what_the_general_network_is_trained_with_needs_little(tmp_path: Path) -> None:
    """Training where only torch, NumPy, SciPy, scikit-image, safetensors and Pillow are."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "class Absent:\n"
        "    names = {'nibabel', 'monai', 'maxflow', 'napari', 'filelock', 'typer', 'imageio', 'qtpy', 'rich'}\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in self.names:\n"
        "            raise ImportError(f'{name} is not here')\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import napari_probseg.training.general, napari_probseg.training.__main__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


def test_refined_answers_are_learnt_from_whole_images(tmp_path: Path) -> None:
    from napari_probseg.dataset.targets import Target
    from napari_probseg.training.refine import LEARNT_STROKE_COUNTS, views_of

    image = np.random.default_rng(0).normal(size=(1, 60, 80)).astype(np.float32)
    truth = np.zeros((60, 80), dtype=bool)
    truth[20:40, 30:60] = True
    image[0][truth] += 2
    torch.manual_seed(0)
    views = list(views_of(AdvisedCVAE().eval(), Target("a", image, truth, (1.0, 1.0), truth * 1), n=3))
    assert len(views) == len([n for n in LEARNT_STROKE_COUNTS if n <= 3])
    for view in views:
        assert view.seen.shape[1:] == view.truth.shape
        assert view.truth.any() and not view.truth.all()


def test_a_refiner_learns_from_single_objects_and_from_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import napari_probseg as ps
    from napari_probseg.dataset.raw import datasets_below
    from napari_probseg.training import refine

    label = np.zeros((40, 48), dtype=np.uint8)
    label[5:15, 5:15], label[20:36, 20:40] = 1, 2
    about = {"channel_names": {"0": "x"}, "labels": {"background": 0, "cell": 1}, "file_ending": ".png"}
    folder = tmp_path / "Dataset001_Cells"
    for name in ("a", "b", "c"):
        ps.write(folder / "imagesTr" / f"{name}_0000.png", label * 40)
        ps.write(folder / "labelsTr" / f"{name}.png", label)
    (folder / "dataset.json").write_text(json.dumps({**about, "description": "one id per cell"}))
    looked_at: list[int] = []

    def views_of(network: AdvisedCVAE, target: Target) -> Iterator[refine.View]:
        looked_at.append(int(target.truth.sum()))
        assert not network.refiner.out.weight.any(), "what the network says alone is corrected"
        yield refine.View(torch.randn(N_SEEN, 32, 32).half(), torch.randn(32, 32) > 0)

    monkeypatch.setattr(refine, "views_of", views_of)
    untrained = AdvisedCVAE().eval()
    list(refine.train_refiner(untrained, datasets_below(tmp_path), n_targets=2, config=FitConfig(2)))
    assert len(looked_at) == 4 and looked_at.count(420) == 2, "one object, and all together, of two images"
    assert untrained.refiner.out.weight.any()
    assert not any(torch.isnan(p).any() for p in untrained.refiner.parameters())

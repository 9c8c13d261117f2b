"""The U-Net, its published forms and the planner."""

from dataclasses import asdict, replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.plan import GIB, MIN_COARSE_VOXELS, levels, memory_needed, plan
from napari_probseg.nn.presets import build, load_network
from napari_probseg.nn.unet import UNETS, UNet, UNetConfig
from napari_probseg.training.fit import FitConfig, fit
from napari_probseg.training.segmentation import segmentation_loss

SMALL = UNetConfig(widths=(8, 16, 24), norm="group")


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def built(config: UNetConfig) -> UNet:
    torch.manual_seed(0)
    return UNet(config)


@pytest.mark.parametrize("name", UNETS)
@pytest.mark.parametrize("size", [(33, 17), (1, 40), (9, 1, 21)])
def test_every_preset_takes_every_size(name: str, size: tuple[int, ...]) -> None:
    config = replace(UNETS[name], ndim=len(size), n_channels=2, n_labels=4)
    maps = built(config).train().maps(torch.randn(1, 2, *size))
    assert maps[0].shape == (1, 4, *size)
    assert len(maps) == config.n_maps
    for coarser, m in enumerate(maps):
        assert m.shape[2:] == tuple(-(-n // 2**coarser) for n in size)
        assert torch.isfinite(m).all()


@pytest.mark.parametrize(
    ("name", "millions"),
    [("isensee2017", 8.8), ("kayalibay2017", 2.0), ("nnunet2018", 4.9), ("avetisian2018", 1.6)],
)
def test_sizes_of_the_presets_in_3d(name: str, millions: float) -> None:
    assert count(UNet(replace(UNETS[name], ndim=3))) / 1e6 == pytest.approx(millions, abs=0.05)


def test_presets_are_what_their_papers_say() -> None:
    def has(name: str, kind: type[nn.Module]) -> int:
        return sum(isinstance(m, kind) for m in UNet(UNETS[name]).modules())

    assert has("kayalibay2017", nn.PReLU) and has("kayalibay2017", nn.BatchNorm3d)
    assert not has("kayalibay2017", nn.MaxPool3d)
    assert has("isensee2017", nn.Dropout3d) == 5 and has("isensee2017", nn.InstanceNorm3d)
    assert has("nnunet2018", nn.LeakyReLU) == 14 and has("nnunet2018", nn.InstanceNorm3d) == 14
    assert not has("avetisian2018", nn.InstanceNorm3d) and not has("avetisian2018", nn.BatchNorm3d)
    kernels = {m.kernel_size for m in UNet(UNETS["avetisian2018"]).modules() if isinstance(m, nn.Conv3d)}
    assert kernels == {(1, 3, 3), (3, 1, 3), (3, 3, 1), (1, 1, 1)}


def test_size_of_one_convolution_after_another() -> None:
    # By hand: 1 -> 4, down to 6, up to 4, joined with the skip 8 -> 4, then 2 labels; kernels of 3x3 with biases.
    config = UNetConfig(widths=(4, 6), n_convolutions=1, norm="none", activation="relu")
    encoder = (9 * 1 * 4 + 4) + (9 * 4 * 6 + 6) + (9 * 6 * 6 + 6)
    decoder = (4 * 6 * 4 + 4) + (9 * 8 * 4 + 4) + (4 * 2 + 2)
    assert count(UNet(config)) == encoder + decoder


def test_padding_does_not_show_in_what_is_left() -> None:
    network = built(replace(SMALL, norm="none")).eval()
    image = torch.randn(1, 1, 64, 64)
    whole, part = network(image), network(image[..., :61])
    assert torch.allclose(whole[..., :20], part[..., :20], atol=1e-5)
    assert not torch.allclose(whole[..., :61], part, atol=1e-5), "test invalid"


@pytest.mark.parametrize("skip", ["concatenate", "sum", "none"])
def test_skips_decide_what_reaches_the_decoder(skip: str) -> None:
    network = built(replace(SMALL, skip=skip))
    assert network.decoder[0][0][0].in_channels == (16 if skip == "concatenate" else 8)
    assert network(torch.randn(1, 1, 16, 16)).shape == (1, 2, 16, 16)


def test_summed_maps_reach_the_logits() -> None:
    image = torch.randn(1, 1, 16, 16)
    for sum_maps in (True, False):
        network = built(replace(SMALL, n_maps=2, sum_maps=sum_maps)).eval()
        before = network(image)
        with torch.no_grad():
            network.segment[1].bias += 5
        assert torch.allclose(network(image), before + 5.0 * sum_maps, atol=1e-4)


def test_factorised_convolutions_have_a_third_of_the_weights() -> None:
    full, flat = (count(UNet(replace(UNETS["avetisian2018"], factorised=f, up="nearest"))) for f in (False, True))
    assert flat / full == pytest.approx(1 / 3, abs=0.01)


def test_what_release_0_1_0_wrote_of_a_u_net_is_read() -> None:
    written = {**asdict(SMALL), "stem": 1}
    network = build("kayalibay2017", written)
    assert isinstance(network, UNet) and network.config == SMALL
    with pytest.raises(ValueError, match="does not fit the network"):
        build("kayalibay2017", {**written, "stem": 2})


def test_norms_do_not_mix_items() -> None:
    network = built(SMALL).eval()
    x = torch.randn(2, 1, 20, 20)
    assert torch.allclose(network(x)[1:], network(x[1:]), atol=1e-4)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("preset", ["isensee2017", "kayalibay2017", "nnunet2018", "avetisian2018"])
def test_overfits_one_case(preset: str, ndim: int) -> None:
    n_maps = min(2, UNETS[preset].n_maps)
    config = replace(UNETS[preset], ndim=ndim, n_labels=3, widths=(9, 18), n_maps=n_maps, dropout=0.0)
    grid = np.indices((12,) * ndim) - 5.5
    distance = torch.from_numpy(np.sqrt((grid**2).sum(0)))
    truth = ((distance < 5).long() + (distance < 2.5).long())[None]
    x = truth[:, None].float() + 0.2 * torch.randn(1, 1, *truth.shape[1:], generator=torch.Generator().manual_seed(0))
    network = built(config)
    steps = fit(
        network,
        lambda _: (x, truth),
        segmentation_loss("dice_cross_entropy"),
        FitConfig(60, learning_rate=1e-2, n_warmup=10, average=0.8),
    )
    losses = [p.losses["total"] for p in steps]
    assert losses[0] > 0.8, "test invalid"
    assert (network(x).argmax(1) == truth).float().mean() > 0.95


def test_every_weight_gets_a_gradient() -> None:
    for config in UNETS.values():
        network = built(replace(config, ndim=2))
        sum(m.square().mean() for m in network.maps(torch.randn(2, config.n_channels, 32, 32))).backward()
        assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"norm": "layer"}, "norm must be one of batch, instance, group, none, got 'layer'"),
        ({"activation": "tanh"}, "activation must be one of"),
        ({"skip": "product"}, "skip must be one of"),
        ({"down": "average"}, "down must be one of"),
        ({"up": "linear"}, "up must be one of"),
        ({"widths": (8,)}, "2 levels or more"),
        ({"ndim": 4}, "2 or 3 dimensions"),
        ({"strides": ((2, 2),)}, "one stride less"),
        ({"n_maps": 9}, "n_maps must be 1 to 4"),
    ],
)
def test_wrong_configurations_say_so(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(UNetConfig(), **change)


def test_wrong_input_says_so() -> None:
    with pytest.raises(ValueError, match=r"takes \(batch, 1\) and 2 axes, got \(1, 3, 8, 8\)"):
        built(SMALL)(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("name", UNETS)
def test_weights_of_a_unet_come_back(tmp_path: Path, name: str) -> None:
    config = replace(UNETS[name], ndim=2, widths=(8, 16, 24), strides=((1, 2), (2, 2)))
    network = built(config).eval()
    write_weights(tmp_path / "w.safetensors", network.state_dict(), preset=name, config=asdict(config))
    again = load_network(tmp_path / "w.safetensors")
    assert isinstance(again, UNet) and again.config == config
    x = torch.randn(1, config.n_channels, 19, 23)
    assert torch.equal(network(x), again(x))


def test_unknown_networks_say_what_is_known() -> None:
    with pytest.raises(ValueError, match="this release knows advised, general, refined3d, wong2022, isensee2017"):
        build("vnet", {})
    with pytest.raises(ValueError, match="does not fit the network 'nnunet2018'"):
        build("nnunet2018", {"depth": 3})


# --- the planner ---


@pytest.mark.parametrize("seed", range(150))
def test_plans_hold_what_they_promise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(2, 4))
    shape, spacing = rng.integers(1, 600, ndim).tolist(), rng.choice([0.3, 1, 1, 2, 5, 9], ndim).tolist()
    memory = float(rng.choice([0.3, 2, 12])) * GIB
    found = plan(shape, spacing, memory=memory)
    step = found.config.step
    assert memory_needed(found.config, found.patch, n_batch=2) <= memory
    assert all(n % s == 0 for n, s in zip(found.patch, step, strict=True))
    if len(found.config.widths) > 2:
        assert all(n // s >= MIN_COARSE_VOXELS for n, s in zip(found.patch, step, strict=True) if s > 1)
    more = plan(shape, spacing, memory=2 * memory)
    assert prod(more.patch) >= prod(found.patch)


def test_plan_follows_the_axes() -> None:
    first, second = plan((30, 300, 200), (5.0, 1.0, 1.5)), plan((200, 30, 300), (1.5, 5.0, 1.0))
    assert [first.patch[a] for a in (2, 0, 1)] == list(second.patch)
    assert [[s[a] for a in (2, 0, 1)] for s in first.config.strides] == [list(s) for s in second.config.strides]


def test_a_coarse_axis_waits_until_spacings_agree() -> None:
    kernels, strides = levels((40, 320, 320), (5.0, 1.0, 1.0))
    assert strides[:3] == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert kernels[:4] == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))


def test_isotropic_volumes_are_halved_alike_to_about_eight() -> None:
    found = plan((128, 128, 128), (1.0, 1.0, 1.0), memory=100 * GIB)
    assert found.patch == (128, 128, 128)
    assert found.config.strides == ((2, 2, 2),) * 4
    assert found.config.widths == (30, 60, 120, 240, 320)
    assert found.config.kernels == ((3, 3, 3),) * 5


def test_planned_networks_work() -> None:
    found = plan((9, 50, 41), (5.0, 1.0, 1.0), memory=0.1 * GIB)
    assert UNet(found.config)(torch.randn(1, 1, 9, 33, 41)).shape == (1, 2, 9, 33, 41)


@pytest.mark.parametrize(
    ("shape", "spacing", "memory", "says"),
    [
        ((64, 64), (1.0,), GIB, "2 or 3 numbers above 0 each"),
        ((64, 0), (1.0, 1.0), GIB, "2 or 3 numbers above 0 each"),
        ((64, 64), (1.0, -1.0), GIB, "2 or 3 numbers above 0 each"),
        ((64, 64, 64), (1.0, 1.0, 1.0), 1e5, "give more memory"),
    ],
)
def test_impossible_plans_say_so(shape: tuple[int, ...], spacing: tuple[float, ...], memory: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        plan(shape, spacing, memory=memory)

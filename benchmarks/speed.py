"""What an answer costs beside one pass of a U-Net of the size of ScribblePrompt's (Wong et al. 2024).

    python benchmarks/speed.py [--weights FILE] [--threads 1] [--device cpu] [--rounds 15] [--markdown FILE]

All take their turn in each round, so that other work on the machine touches them alike; the figures are medians. The
U-Net has random weights, the published widths and no normalisation, and is given its best memory layout; its size is
counted, not quoted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import napari_probseg as ps
from napari_probseg.inference.readings import N_DRAWN, N_WINDOWS
from napari_probseg.morphology import ball
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.inputs import N_MARKS
from napari_probseg.nn.presets import General
from napari_probseg.proposers.cvae import CVAEProposer
from napari_probseg.proposers.unet_cut import UNetCut

SIDE, CROP = 256, 128  # pixels of the image that we are asked about, and of the U-Net's input
GOAL = 0.5
CHANNELS = {"grey": 1, "two channels": 2, "RGB": 3}


class PlainUNet(nn.Module):
    """Ronneberger et al. (2015) with one convolution a block, of the same width throughout."""

    def __init__(self, n_channels: int = 5, width: int = 192, n_levels: int = 4) -> None:
        super().__init__()
        widths = [n_channels, *[width] * (n_levels + 1)]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 3, padding=1) for _ in range(n_levels))
        self.out = nn.Conv2d(width, 1, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        maps = [F.leaky_relu(self.down[0](x))]
        for down in self.down[1:]:
            maps.append(F.leaky_relu(down(F.max_pool2d(maps[-1], 2))))
        h = maps.pop()
        for up in self.up:
            h = F.leaky_relu(up(torch.cat([maps.pop(), F.interpolate(h, scale_factor=2.0)], 1)))
        return cast(Tensor, self.out(h))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="general")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    proposer = ps.load_proposer(arguments.weights, device=arguments.device)
    completer = ps.load_completer(arguments.weights, device=arguments.device)
    assert isinstance(proposer, CVAEProposer)
    assert isinstance(completer, UNetCut)
    peer = PlainUNet().eval().to(arguments.device)
    ours = proposer.networks[2]
    lines = [
        f"Medians of {arguments.rounds} rounds on {arguments.threads} thread(s), of images of {SIDE}x{SIDE}.",
        f"{size('The U-Net', peer, lambda: one_pass(peer))} on {CROP}x{CROP}.",
        f"{size('Ours', ours, lambda: samples(ours))} for {N_DRAWN} samples in each of {N_WINDOWS} windows.",
        "",
        "| | candidates | U-Net | our network | `propose` | ratio to the U-Net | goal | `complete` | ratio "
        "| `propose` after `complete`, as *Live* asks | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, n_channels in CHANNELS.items():
        case = marked(n_channels)
        answered = completer.complete(case).answer
        found = seconds(
            {
                "unet": lambda: one_pass(peer),
                "network": lambda: samples(ours),
                "propose": partial(proposer.propose, case, 8),
                "complete": partial(completer.propose, case),
                "after": partial(proposer.propose, case, 8, answered=answered),
            },
            arguments.rounds,
        )
        ms = {what: f"{1e3 * s:.0f} ms" for what, s in found.items()}
        propose, complete, after = (found[what] / found["unet"] for what in ("propose", "complete", "after"))
        lines.append(
            f"| {name} | {len(proposer.propose(case, 8))} | {ms['unet']} | {ms['network']} | {ms['propose']} "
            f"| {propose:.2f} | <= {GOAL} | {ms['complete']} | {complete:.2f} | {ms['after']} | {after:.2f} |"
        )
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def marked(n_channels: int) -> ps.Case:
    """Return an image of a disk with a core beside others, with a dab inside and one outside."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.random.default_rng(0).normal(0, 0.1, (n_channels, SIDE, SIDE))
    for middle, radius, grey in (((128, 128), 40, 1), ((128, 128), 16, 0.5), ((128, 205), 30, 1), ((50, 120), 30, 0.8)):
        image += grey * (np.hypot(y - middle[0], x - middle[1]) < radius)
    one = np.ones(2)
    inside, outside = (ball((SIDE, SIDE), middle, 3, one) for middle in ((128, 150), (180, 60)))
    return ps.Case(image.astype(np.float32), channel_axis=0).mark(inside, outside)


@torch.inference_mode()
def one_pass(network: PlainUNet) -> Tensor:
    x = torch.zeros(1, 5, CROP, CROP, device=device_of(network))
    return finished(network(x.to(memory_format=torch.channels_last)))


@torch.inference_mode()
def samples(network: General) -> Tensor:
    """Return what a proposal asks of the network."""
    n = N_WINDOWS * N_DRAWN
    device = device_of(network)
    x = torch.zeros(N_WINDOWS, network.config.n_image_channels + N_MARKS, WINDOW_SIDE[2], WINDOW_SIDE[2], device=device)
    x[:, -N_MARKS, 40:50, 40:50] = x[:, 1 - N_MARKS, :5, :5] = 1
    features = network.features(x)
    network.decode_control(features, torch.ones(N_WINDOWS, device=device))
    z = torch.zeros(n, network.n_latent, device=device)
    return finished(network.decode(features, z, torch.ones(n, device=device)).object)


def device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def finished(result: Tensor) -> Tensor:
    """Wait for a GPU to have computed a tensor; return it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


def size(name: str, network: nn.Module, run: Callable[[], object]) -> str:
    """Return a network's weights and the operations of a run, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter:
        run()
    n_weights = sum(p.numel() for p in network.parameters())
    return f"{name} has {n_weights / 1e6:.2f} M weights and takes {counter.get_total_flops() / 1e9:.1f} GFLOP"


def seconds(actions: Mapping[str, Callable[[], object]], n_rounds: int) -> dict[str, float]:
    """Return the median seconds of each, all in turn in each round."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for i in range(n_rounds + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if i:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: median(found) for name, found in times.items()}


if __name__ == "__main__":
    main()

"""Training loop: a generator that yields its progress and can be stopped and resumed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from napari_probseg.io.atomic import write_whole
from napari_probseg.progress import Progress
from napari_probseg.training.distributed import is_first, share

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Losses = dict[str, Tensor]

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class FitConfig:
    """How a network is trained.

    Parameters
    ----------
    n_steps : int
        Steps in all; with ``minutes``, at most.
    minutes : float
        How long it trains, pauses left out; 0 for as long as ``n_steps`` take. The learning rate follows what is there.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises for ``n_warmup`` steps and falls as a cosine to a hundredth.
    rates : tuple of (str, float)
        Beginnings of parameters' names, and the share of the learning rate that these are trained with.
    clip : float
        Greatest norm of the gradient.
    average : float
        Decay of the running average of the weights, which is what is kept.
    save_every : float
        Seconds between checkpoints.
    seed : int
        Of everything random.
    mixed_precision : bool
        Whether the loss is computed in bfloat16 where the device has it (on CUDA).
    validate_every : int
        Steps between validations, if there is something to validate with.
    patience : int
        Validations without a better score after which the training ends early; 0 for never.
    """

    n_steps: int
    minutes: float = 0.0
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    n_warmup: int = 100
    clip: float = 1.0
    average: float = 0.999
    save_every: float = 120.0
    seed: int = 0
    mixed_precision: bool = False
    validate_every: int = 250
    patience: int = 0
    rates: tuple[tuple[str, float], ...] = ()


@dataclass
class Best:
    """The average weights of the highest score so far."""

    score: float = -math.inf
    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)


def fit(
    network: nn.Module,
    make_batch: Callable[[torch.Generator], Any],
    loss: Callable[[nn.Module, Any, int], Losses],
    config: FitConfig,
    *,
    folder: str | Path | None = None,
    device: str | torch.device = "cpu",
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    fabric: Fabric | None = None,
) -> Iterator[Progress]:
    """Train ``network`` in place, step by step; at the end it holds the average of its weights, the best one there was.

    Parameters
    ----------
    network : Module
    make_batch : callable
        From a generator of random numbers (on the CPU), which alone decides the batch, to a batch.
    loss : callable
        From network, batch and step to named losses, of which ``"total"`` is minimised.
    config : FitConfig
    folder : path, optional
        Where checkpoints are kept; a training that was broken off goes on from the last one.
    device : str or device
        Where the network is.
    validate : callable, optional
        From the network with its average weights, in evaluation mode, to named figures, of which a higher ``"score"``
        is better. Without it the last average is the best.
    fabric : Fabric, optional
        Launched, where several processes train together. Each calls this with its own ``device``, draws other batches
        and takes all the steps; they end with the same weights, and the first one alone validates and writes.

    Yields
    ------
    Progress
        After each step.

    Raises
    ------
    FloatingPointError
        If the loss is not finite.
    ValueError
        If the folder's checkpoint is of another network.
    """
    training = _Training.begun(network.to(device).train(), config, folder, device=device, fabric=fabric)
    saved = time.monotonic()
    while not training.is_over:
        progress = training.take_step(make_batch, loss)
        if validate and (training.share_done >= 1 or training.step % config.validate_every == 0):
            progress.validation = training.judged(validate)
        if folder and is_first(fabric) and (training.is_over or time.monotonic() - saved > config.save_every):
            # One file that holds all, so that a crash between two files cannot mix two steps.
            write_whole(Path(folder) / CHECKPOINT_FILE, training.packed())
            saved = time.monotonic()
        if training.is_over:
            training.keep_best()
        yield progress
    training.keep_best()
    network.eval()


@dataclass
class _Training:
    """A training under way: all that a checkpoint holds, and how the next step is taken."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    config: FitConfig
    device: str | torch.device
    fabric: Fabric | None
    best: Best = field(default_factory=Best)
    step: int = 0
    seconds: float = 0.0  # that it has taken

    @classmethod
    def begun(
        cls,
        network: nn.Module,
        config: FitConfig,
        folder: str | Path | None,
        *,
        device: str | torch.device,
        fabric: Fabric | None,
    ) -> _Training:
        """Return a training that goes on with the folder's checkpoint, if there is one."""
        training = cls(network, deepcopy(network).eval(), _optimizer(network, config), config, device, fabric)
        path = None if folder is None else Path(folder) / CHECKPOINT_FILE
        content = path.read_bytes() if path and path.is_file() else b""
        if fabric:  # all begin as the first process does, also where the others have another folder or other weights
            content = fabric.broadcast(content or training.packed())
        if content:
            try:
                training.take_up(load(content))
            except RuntimeError as error:
                raise ValueError(f"{path} is of another network: choose an empty folder, or train as before") from error
        return training

    @property
    def share_done(self) -> float:
        """The share of the training that is over, from 0 to 1."""
        if self.step >= self.config.n_steps:
            return 1.0
        if self.config.minutes:
            return self.seconds / (60 * self.config.minutes)
        return self.step / self.config.n_steps

    @property
    def is_over(self) -> bool:
        """Whether there is no further step, or the score has not risen for as long as ``patience`` allows."""
        n_without = self.step - self.best.step
        patience = self.config.patience * self.config.validate_every
        return self.share_done >= 1 or (patience > 0 and bool(self.best.tensors) and n_without >= patience)

    def take_step(
        self, make_batch: Callable[[torch.Generator], Any], loss: Callable[[nn.Module, Any, int], Losses]
    ) -> Progress:
        """Change the network by one batch, and its average with it.

        Raises
        ------
        FloatingPointError
            If the loss is not finite.
        """
        start = time.monotonic()
        fabric, config = self.fabric, self.config
        rank, n_processes = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
        seed = (config.seed * 1_000_003 + self.step) * n_processes + rank  # no two steps and processes share one
        batch = make_batch(torch.Generator().manual_seed(seed))
        seconds_for_data = time.monotonic() - start
        torch.manual_seed(seed)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * _learning_rate(config, self.step, self.share_done)
        with _precision(config, self.device):
            losses = loss(self.network, batch, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        figures = {name: value.detach() for name, value in losses.items()}
        if fabric:
            share(self.network, figures.values(), fabric)
        if not torch.isfinite(figures["total"]):  # the mean of all, so that no process waits for one that has stopped
            raise FloatingPointError(f"the loss is not finite at step {self.step}: lower the learning rate")
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        _update_average(self.average, self.network, min(config.average, (self.step + 1) / (self.step + 10)))
        taken = time.monotonic() - start
        self.seconds += fabric.broadcast(taken) if fabric else taken  # one clock, as all have to stop together
        self.step += 1
        n_steps = max(self.step, round(self.step / self.share_done)) if config.minutes else config.n_steps
        return Progress(self.step, n_steps, {k: float(v) for k, v in figures.items()}, taken, seconds_for_data)

    def judged(self, validate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """Return the figures of the average, and note it where it is the best so far."""
        figures = validate(self.average) if is_first(self.fabric) else {}
        if self.fabric:  # one judge, as all have to agree on the best and on when to stop
            figures = self.fabric.broadcast(figures)
        if figures["score"] > self.best.score:
            self.best = Best(figures["score"], self.step, deepcopy(self.average.state_dict()))
        return figures

    def keep_best(self) -> None:
        """Give the network the best average there was; without validation that is the last one."""
        self.network.load_state_dict(self.best.tensors or self.average.state_dict())

    def packed(self) -> bytes:
        """Return the content of a checkpoint."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        if self.best.tensors:
            tensors |= {f"best.{k}": v for k, v in self.best.tensors.items()}
            tensors["best"] = torch.tensor([self.best.score, self.best.step], dtype=torch.float64)
        tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        tensors["seconds"] = torch.tensor(self.seconds, dtype=torch.float64)
        return save(tensors, metadata={"step": str(self.step), "config": json.dumps(asdict(self.config))})

    def take_up(self, tensors: dict[str, Tensor]) -> None:
        """Go on with a checkpoint.

        Raises
        ------
        RuntimeError
            If it is of another network.
        """
        self.network.load_state_dict(_under(tensors, "network."))
        self.average.load_state_dict(_under(tensors, "average."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimizer.").items():
            i, key = name.split(".")
            state.setdefault(int(i), {})[key] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if "best" in tensors:
            score, step = tensors["best"].tolist()
            self.best = Best(score, int(step), _under(tensors, "best."))
        self.step = int(next(iter(state.values()))["step"].item()) if state else 0
        self.seconds = float(tensors["seconds"]) if "seconds" in tensors else 0.0


def _precision(config: FitConfig, device: str | torch.device) -> AbstractContextManager[object]:
    kind = torch.device(device).type
    use = config.mixed_precision and kind == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(kind, dtype=torch.bfloat16) if use else nullcontext()


def _optimizer(network: nn.Module, config: FitConfig) -> torch.optim.AdamW:
    """Return AdamW with a group of parameters for each rate."""
    rest = dict(network.named_parameters())
    groups = []
    for beginning, rate in config.rates:
        chosen = [name for name in rest if name.startswith(beginning)]
        groups.append({"params": [rest.pop(name) for name in chosen], "rate": rate})
    groups.append({"params": list(rest.values()), "rate": 1.0})
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def _learning_rate(config: FitConfig, step: int, done: float) -> float:
    if step < config.n_warmup:
        return config.learning_rate * (step + 1) / config.n_warmup
    if not config.minutes:
        done = (step - config.n_warmup) / max(1, config.n_steps - config.n_warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

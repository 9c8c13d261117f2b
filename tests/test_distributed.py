"""Training in two processes; this file is also what they run (at the end)."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from socket import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

from napari_probseg.cli.main import app
from napari_probseg.training.distributed import launch
from napari_probseg.training.fit import CHECKPOINT_FILE, FitConfig, Losses, fit

CONFIG = FitConfig(12, learning_rate=1e-2, n_warmup=2, average=0.5, validate_every=4, save_every=0)
needs_fabric = pytest.mark.skipif(not find_spec("lightning_fabric"), reason="Lightning Fabric is not installed")


class Net(nn.Module):
    """Has no ``forward``, as a loss may call any method; ``spare`` is for some batches only."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 1)
        self.norm, self.spare = nn.BatchNorm2d(1), nn.Parameter(torch.ones(1))

    def features(self, x: Tensor) -> Tensor:
        return self.first(x).relu()

    def decode(self, features: Tensor) -> Tensor:
        return self.last(features)


def a_batch(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 1, 8, 8, generator=generator)


def loss_of(network: Net, x: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(network.decode(network.features(x)), (x > 0).float())


def loss(network: nn.Module, x: Tensor, step: int) -> Losses:
    assert isinstance(network, Net)
    return {"total": loss_of(network, x)}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders that two processes of one machine, and one each of two machines, have written into."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", "two")}
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [start(folders["one"]), *(start(folders["two"], **as_torchrun_does(rank, port)) for rank in (0, 1))]
    said = [process.communicate(timeout=120) for process in started]
    for process, (out, error) in zip(started, said, strict=True):
        assert process.returncode == 0, error
        assert not out, "Fabric's banner"
    return folders


def start(folder: Path, **more: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | more
    command = [sys.executable, __file__, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def as_torchrun_does(rank: int, port: int) -> dict[str, str]:
    names = {"RANK": rank, "GROUP_RANK": rank, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 1}
    names |= {"MASTER_PORT": port, "TORCHELASTIC_RUN_ID": 1}
    return {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}


@pytest.fixture(params=["one", "two"])
def ran(request: pytest.FixtureRequest, both_ways: dict[str, Path]) -> Path:
    """Return what was written on one machine, and on two."""
    return both_ways[request.param]


@needs_fabric
def test_processes_end_with_the_weights_of_one_that_saw_all_batches(ran: Path) -> None:
    first, second = load_file(ran / "whole_0.safetensors"), load_file(ran / "whole_1.safetensors")
    assert same(first, second)
    alone, both = Net(), Net()
    list(fit(alone, a_batch, loss, CONFIG))
    list(fit(both, batches_of_both(), loss, CONFIG))
    difference = [float((first[name] - value).abs().max()) for name, value in both.state_dict().items()]
    assert max(difference) < 1e-5
    assert max(float((first[name] - value).abs().max()) for name, value in alone.state_dict().items()) > 1e-3


def batches_of_both():  # type: ignore[no-untyped-def]
    steps = iter(range(CONFIG.n_steps))

    def make(_: torch.Generator) -> Tensor:
        step = next(steps)
        return torch.cat([a_batch(torch.Generator().manual_seed(2 * step + rank)) for rank in (0, 1)])

    return make


@needs_fabric
def test_loss_falls_and_both_processes_see_the_same(ran: Path) -> None:
    losses = [load_file(ran / f"losses_{rank}.safetensors") for rank in (0, 1)]
    assert same(*losses)
    assert losses[0]["total"][-1] < 0.97 * losses[0]["total"][0]
    assert len(losses[0]["score"]) == 3, "a validation each 4 steps"


@needs_fabric
def test_only_the_first_process_writes_and_validates(ran: Path) -> None:
    assert (ran / "folder_0" / CHECKPOINT_FILE).is_file()
    assert not (ran / "folder_1").exists()
    assert [path.name for path in ran.glob("validated_*")] == ["validated_0"]


@needs_fabric
def test_training_goes_on_as_if_it_had_never_been_broken_off(ran: Path) -> None:
    for rank in (0, 1):
        assert same(load_file(ran / f"resumed_{rank}.safetensors"), load_file(ran / f"whole_{rank}.safetensors"))


@needs_fabric
def test_statistics_and_gradients_of_one_process_reach_the_other(ran: Path) -> None:
    first, second = load_file(ran / "uneven_0.safetensors"), load_file(ran / "uneven_1.safetensors")
    assert same(first, second)
    assert first["norm.running_mean"] != 0, "test invalid"
    assert first["spare"] < 1 - 1e-3, "moved by the second process alone"


@needs_fabric
def test_all_stop_at_a_loss_of_one_that_is_not_finite(ran: Path) -> None:
    assert {path.name for path in ran.glob("stopped_*")} == {"stopped_0", "stopped_1"}


def test_one_process_needs_no_fabric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    assert launch(1, "cpu") is None
    assert len(list(fit(Net(), a_batch, loss, FitConfig(2)))) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--devices", "2"], r"needs Lightning Fabric: install it with pip install 'napari-probseg\[distributed\]'"),
        (["--devices", "2", "--device", "mps"], "several processes train on 'cpu' or 'cuda', got 'mps'"),
        (["--devices", "99", "--device", "cuda"], "99 GPUs were asked for, this machine has"),
    ],
)
def test_mistakes_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], says: str) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    result = CliRunner().invoke(app, ["train", "general", str(tmp_path), *arguments])
    with pytest.raises((RuntimeError, ValueError), match=says):
        raise result.exception or AssertionError


def work(folder: Path) -> None:
    """Train in each of two processes, and write what came of it with the process's number in the name."""
    fabric = launch(2, "cpu")
    assert fabric is not None and fabric.world_size == 2
    rank = fabric.global_rank

    def train(steps: int | None = None, own: str = "folder") -> tuple[Net, dict[str, Tensor]]:
        network = Net(seed=rank)  # they begin as the first one all the same
        training = fit(network, a_batch, loss, CONFIG, folder=folder / f"{own}_{rank}", validate=judge, fabric=fabric)
        taken = [progress for progress, _ in zip(training, range(steps or CONFIG.n_steps), strict=False)]
        training.close()  # type: ignore[attr-defined]
        scores = [p.validation["score"] for p in taken if p.validation]
        return network, {
            "total": torch.tensor([p.losses["total"] for p in taken]),
            "score": torch.tensor(scores),
        }

    @torch.no_grad()
    def judge(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Net)
        (folder / f"validated_{rank}").touch()
        return {"score": -float(loss_of(network, a_batch(torch.Generator().manual_seed(99))))}

    network, seen = train()
    save_file(network.state_dict(), folder / f"whole_{rank}.safetensors")
    save_file(seen, folder / f"losses_{rank}.safetensors")
    train(5, own="broken")
    network, _ = train(7, own="broken")
    save_file(network.state_dict(), folder / f"resumed_{rank}.safetensors")

    def uneven(network: nn.Module, x: Tensor, step: int) -> Losses:
        assert isinstance(network, Net)
        total = loss_of(network, network.norm(x + rank))
        return {"total": total + network.spare.sum() if rank == 1 else total}

    network = Net()
    list(fit(network, a_batch, uneven, CONFIG, fabric=fabric))
    save_file(network.state_dict(), folder / f"uneven_{rank}.safetensors")

    def broken(network: nn.Module, x: Tensor, step: int) -> Losses:
        return {"total": loss(network, x, step)["total"] * (float("nan") if rank == 1 and step == 2 else 1)}

    with pytest.raises(FloatingPointError, match="not finite at step 2"):
        list(fit(Net(), a_batch, broken, CONFIG, fabric=fabric))
    (folder / f"stopped_{rank}").touch()


if __name__ == "__main__":
    work(Path(sys.argv[1]))

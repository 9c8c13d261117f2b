"""The command line, as it is typed."""

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg import batch, more
from napari_probseg.cli import measure, segment
from napari_probseg.cli.main import app, main
from napari_probseg.evaluate.run import EvaluateConfig
from napari_probseg.morphology import ball
from napari_probseg.proposers.completion import CutConfig


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def drawn(folder: Path, shape: tuple[int, ...]) -> tuple[Path, Path, Path]:
    """Write an image with a disk and strokes on it."""
    plane = shape[-2:]
    disk = ball(plane, (30, 30), 12, np.ones(2))
    noise = np.random.default_rng(0).normal(0, 8, shape)
    ending = ".tif" if len(shape) == 2 else ".nii.gz"
    paths = [folder / f"{name}{ending}" for name in ("image", "inside", "outside")]
    inside, outside = ball(plane, (30, 30), 2, np.ones(2)), ball(plane, (55, 30), 2, np.ones(2))
    masks = [inside, outside]
    if len(shape) == 3:
        masks = [np.stack([m & (z == 2) for z in range(shape[0])]) for m in masks]
    ps.write(paths[0], (60 + 90 * disk + noise).clip(0).astype(np.float32), spacing=(2.0, 0.5, 0.5)[-len(shape) :])
    for path, mask in zip(paths[1:], masks, strict=True):
        ps.write(path, mask)
    return paths[0], paths[1], paths[2]


@pytest.mark.parametrize(
    ("shape", "options"), [((64, 70), []), ((5, 64, 70), []), ((5, 64, 70), ["--volume"])], ids=["2-D", "plane", "3-D"]
)
def test_propose_writes_candidates_onto_the_image(tmp_path: Path, shape: tuple[int, ...], options: list[str]) -> None:
    image, inside, outside = drawn(tmp_path, shape)
    ending = "".join(image.suffixes)
    out = tmp_path / f"candidate{ending}"
    said = run(
        *("propose", image, out, "--inside", inside, "--outside", outside, "-n", 3, "--picture", tmp_path / "p.png"),
        *options,
    )
    written = sorted(tmp_path.glob(f"candidate_*{ending}"))
    assert 1 <= len(written) <= 3
    assert said.count("% of the samples") == len(written)
    picture = ps.read(written[0])
    assert picture.data.dtype == np.uint8
    assert picture.spacing == pytest.approx(ps.read(image).spacing)
    assert set(np.unique(picture.data)) <= {0, 1, 2}
    if len(shape) == 3:
        assert (np.asarray(picture.data) == 1).any((1, 2)).sum() == (5 if options else 1)
    assert (tmp_path / "p.png").stat().st_size > 1000


@pytest.mark.parametrize("n", [1, 3], ids=["fewer were asked for", "fewer were found"])
def test_candidates_of_an_earlier_run_are_not_left_among_those_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    image, inside, _ = drawn(tmp_path, (64, 70))
    monkeypatch.setattr("napari_probseg.proposers.load_proposer", lambda *_, **__: GrowingProposer())
    out, strokes = tmp_path / "c.tif", ("--inside", inside)
    run("propose", image, out, *strokes, "-n", 3)
    assert [path.name for path in sorted(tmp_path.glob("c_*"))] == ["c_1.tif", "c_2.tif", "c_3.tif"], "test invalid"
    other = tmp_path / "c_old.tif"
    other.write_bytes(b"of the user")
    monkeypatch.setattr("napari_probseg.proposers.load_proposer", lambda *_, **__: Single())
    said = run("propose", image, out, *strokes, "-n", n)
    left = [path.name for path in sorted(tmp_path.glob("c_[0-9]*"))]
    if n == 1:  # what this run could not have written is not its to remove
        assert left == ["c_1.tif", "c_2.tif", "c_3.tif"] and "c_2.tif is not of this run" in said
    else:
        assert left == ["c_1.tif"] and said.count("removed, it was of an earlier run") == 2
    assert other.read_bytes() == b"of the user"


class Single(GrowingProposer):
    """Finds one candidate, however many are wanted."""

    def propose(self, case: ps.Case, n: int, **options: Any) -> ps.Candidates:
        return super().propose(case, 1, **options)


@pytest.mark.parametrize(
    ("command", "homes"),
    [
        (segment.complete, [batch.BatchConfig, CutConfig]),
        (segment.more, [more.MoreConfig]),
        (measure.evaluate, [EvaluateConfig]),
    ],
)
def test_an_option_that_is_not_given_is_as_it_is_elsewhere(command: Callable[..., None], homes: list[type]) -> None:
    """A default that is written twice can be changed in one place alone."""
    options = {name: one.default for name, one in inspect.signature(command).parameters.items()}
    n = 0
    for home in homes:
        for one in fields(home):
            if one.name in options and options[one.name] is not None:
                assert options[one.name] == one.default, (command.__name__, home.__name__, one.name)
                n += 1
    assert n, "test invalid"


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where networks are loaded."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("work has begun")

    for name in ("load_proposer", "load_completer"):
        monkeypatch.setattr(f"napari_probseg.proposers.{name}", load)


@pytest.mark.parametrize("weights", ["general", "intensities"])
def test_complete_writes_the_mask_onto_the_image(tmp_path: Path, weights: str) -> None:
    image, inside, outside = drawn(tmp_path, (64, 70))
    out = tmp_path / "mask.tif"
    said = run("complete", image, out, "--inside", inside, "--outside", outside, "--weights", weights)
    picture = ps.read(out)
    assert f"{np.count_nonzero(picture.data)} voxels" in said
    assert picture.spacing == pytest.approx(ps.read(image).spacing)
    assert set(np.unique(picture.data)) == {0, 1}


@pytest.mark.parametrize(
    "given",
    [
        ["complete", "IMAGE", "IMAGE", "--inside", "INSIDE"],
        ["complete", "IMAGE", "INSIDE", "--inside", "INSIDE"],
        ["propose", "IMAGE", "CANDIDATES", "--inside", "INSIDE"],
        ["propose", "IMAGE", "NEW", "--inside", "INSIDE", "--picture", "IMAGE"],
        ["more", "IMAGE", "--labels", "INSIDE", "--out", "IMAGE"],
        ["more", "IMAGE", "--labels", "INSIDE", "--out", "INSIDE"],
        ["demo", "IMAGE", "--picture", "IMAGE"],
    ],
)
def test_a_result_replaces_nothing_that_it_is_made_from(tmp_path: Path, given: list[str], no_work: None) -> None:
    image, inside = tmp_path / "image.png", tmp_path / "stroke_1.png"
    ps.write(image, np.arange(400, dtype=np.uint8).reshape(20, 20) % 251, labels=False)
    ps.write(inside, np.eye(20, dtype=np.uint8))
    before = image.read_bytes(), inside.read_bytes()
    named = {"IMAGE": image, "INSIDE": inside, "CANDIDATES": tmp_path / "stroke.png", "NEW": tmp_path / "new.png"}
    done = CliRunner().invoke(app, [str(named.get(word, word)) for word in given])
    assert "is what the result is made from, and would be replaced: choose another name" in str(done.exception)
    assert (image.read_bytes(), inside.read_bytes()) == before


@pytest.mark.parametrize("picture", ["new_1.png", "new_2.png", "sub/../new_8.png"])
def test_a_picture_of_candidates_replaces_none_of_them(tmp_path: Path, picture: str, no_work: None) -> None:
    image, inside, _ = drawn(tmp_path, (64, 70))
    (tmp_path / "sub").mkdir()
    command = ["propose", image, tmp_path / "new.png", "--inside", inside, "--picture", tmp_path / picture]
    done = CliRunner().invoke(app, [str(part) for part in command])
    assert "is where a candidate goes, and would be replaced: choose another name" in str(done.exception)


def test_the_release_is_told() -> None:
    assert run("--version").strip() == ps.__version__


@pytest.mark.parametrize(
    "given",
    [
        ["train", "general", "OUT", "--steps", "0"],
        ["train", "nnunet2018", "OUT", "--steps", "-1"],
        ["train", "nnunet2018", "OUT", "--memory", "0"],
        ["reproduce", "wong2022", "--out", "OUT", "--steps", "0"],
        ["dataset", "train", "OUT", "--steps", "0"],
        ["train", "general", "OUT", "--device", "nowhere"],
    ],
)
def test_a_number_of_nothing_is_not_taken_for_none_given(tmp_path: Path, given: list[str]) -> None:
    """Where `0` was as good as absent, thousands of steps began; nor does anything begin that cannot end."""
    done = CliRunner().invoke(app, [str(tmp_path / "out") if word == "OUT" else word for word in given])
    assert done.exit_code == 2 or "there is no device" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["reproduce", "wong2022", "--out", "OUT", "--only", "choices"], "--only does nothing for wong2022"),
        (["reproduce", "nnunet2018", "--out", "OUT", "--weights", "w"], "--weights does nothing for nnunet2018"),
        (["reproduce", "groff2018", "--out", "OUT", "--sets", "Nuclei"], "--sets does nothing for groff2018"),
        (["evaluate", "OUT", "--data", ".", "--instances", "--marks", "box"], "--marks does nothing for --instances"),
        (["train", "pack", "OUT", "--minutes", "9"], "--minutes does nothing for pack"),
        (["train", "general", "OUT", "--all-cases"], "--all-cases does nothing for general"),
        (["train", "isensee2017", "OUT", "--batch", "9"], "--batch does nothing for isensee2017"),
        (["complete", "a.tif", "OUT", "--workers", "2"], "--workers does nothing for one image"),
    ],
)
def test_an_option_that_does_nothing_is_refused(tmp_path: Path, given: list[str], named: str) -> None:
    """It was passed over in silence, and another thing done than what was asked for."""
    done = CliRunner().invoke(app, [str(tmp_path / "out") if word == "OUT" else word for word in given])
    assert f"{named}: leave it out" in str(done.exception) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [["complete", "NEW"], ["propose", "NEW"], ["more", "--out", "NEW"]])
def test_a_folder_that_is_read_only_is_told_before_any_work(
    tmp_path: Path, given: list[str], no_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, inside, _ = drawn(tmp_path, (64, 70))
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != tmp_path)  # the tests may run as root
    command, *out = (str(tmp_path / "new" / "a.tif") if word == "NEW" else word for word in given)
    strokes = ["--labels" if command == "more" else "--inside", str(inside)]
    done = CliRunner().invoke(app, [command, str(image), *out, *strokes])
    assert isinstance(done.exception, OSError)
    assert str(done.exception).endswith(f"a.tif could not be written: {tmp_path} is read-only, choose another place")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["complete", "propose", "more"])
def test_a_volume_that_no_picture_holds_is_refused_before_any_work(tmp_path: Path, command: str, no_work: None) -> None:
    image, inside, _ = drawn(tmp_path, (3, 64, 70))
    out = tmp_path / "out.png"
    given = ["--labels", inside, "--out", out] if command == "more" else [out, "--inside", inside]
    done = CliRunner().invoke(app, [command, *(str(part) for part in (image, *given))])
    assert "png cannot hold a volume of (3, 64, 70): use .tif or .nii.gz" in str(done.exception)


def test_proposing_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder(GrowingProposer):
        def propose(self, case: ps.Case, *_: object, **__: object) -> ps.Candidates:
            where = tuple(slice(0, n) for n in case.shape)
            none = np.zeros(0, np.float32)
            return ps.Candidates(case, where, np.zeros((0, *case.shape), np.uint8), none, none, np.zeros(case.shape))

    monkeypatch.setattr("napari_probseg.proposers.load_proposer", lambda *_, **__: Finder())
    image, inside, _ = drawn(tmp_path, (64, 70))
    said = run("propose", image, tmp_path / "c.tif", "--inside", inside, "--picture", tmp_path / "p.png")
    assert "nothing is left to add near the strokes" in said


def test_demo_writes_a_picture(tmp_path: Path) -> None:
    assert "candidates for cell" in run("demo", "--picture", tmp_path / "demo.png")
    image, _, _ = drawn(tmp_path, (64, 70))
    assert "candidates for image.tif" in run("demo", image, "--picture", tmp_path / "own.png")
    assert (tmp_path / "own.png").stat().st_size > 1000


def test_demo_takes_a_volume(tmp_path: Path) -> None:
    image, _, _ = drawn(tmp_path, (5, 64, 70))
    assert "candidates for image.nii.gz" in run("demo", image, "--picture", tmp_path / "own.png")


def test_training_writes_weights_that_load(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "general", str(tmp_path), "--steps", "1"], env={"PROBSEG_DATA": None})
    assert result.exit_code == 0, result.output
    assert ps.load_proposer(tmp_path / "general.safetensors", device="cpu").networks[2].n_latent == 8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["propose", "nothing.tif", "out.tif"], "there is no file nothing.tif"),
        (["demo", __file__], "ending that is not known"),
        (["demo", "--device", "cuda:99"], "there is no device"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "napari_probseg.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_gets_one_sentence_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image, inside, _ = drawn(tmp_path, (64, 70))

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "complete_file", interrupted)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which `main` replaces
    monkeypatch.setattr(
        sys, "argv", ["napari-probseg", "complete", str(image), str(tmp_path / "out.tif"), "--inside", str(inside)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("napari-probseg: stopped; what was written is whole")
    assert not (tmp_path / "out.tif").exists()

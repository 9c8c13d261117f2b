"""More like this for files, and examples that are kept for other images."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import napari_probseg as ps
from napari_probseg.cli.main import app
from napari_probseg.io import read, write
from napari_probseg.more import MoreConfig, MoreJob, finding_more, more_all, more_jobs
from napari_probseg.progress import Fate, Outcome, Progress, result_of
from napari_probseg.similar.examples import EXAMPLES_FILE, Example
from napari_probseg.similar.finder import Finder
from napari_probseg.similar.memory import joined, load_examples, save_examples
from napari_probseg.similar.offer import DEFAULT_LINE
from test_similar import NO_NETWORK, disks


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_probseg.proposers.load_completer", lambda *_, **__: NO_NETWORK)


def written(folder: Path, *, n: int = 1) -> tuple[Path, Path, np.ndarray]:
    """Write images of disks, and the first object of the first one; return both folders, and the labels."""
    images, first = folder / "images", folder / "first"
    images.mkdir(), first.mkdir()
    for i in range(n):
        image, labels = disks(seed=i)
        write(images / f"im{i}.tif", image)
        if i == 0:
            truth = labels
            write(first / "im0.tif", np.where(labels == 6, 9, 0).astype(np.uint16), labels=True)
    return images, first, truth


def test_an_image_goes_from_one_object_to_all(tmp_path: Path) -> None:
    images, first, labels = written(tmp_path)
    out = tmp_path / "all.tif"
    said = CliRunner().invoke(
        app, ["more", str(images / "im0.tif"), "--labels", str(first / "im0.tif"), "--out", str(out)]
    )
    assert said.exit_code == 0, said.output
    objects = np.asarray(read(out).data)
    assert (objects[labels == 6] == 9).all()  # what was there keeps its number
    assert len(np.unique(objects)) - 1 >= 14 and f"{len(np.unique(objects)) - 1} objects" in said.output


def test_a_folder_is_gone_on_with_and_other_images_go_by_the_first(tmp_path: Path) -> None:
    images, first, _ = written(tmp_path, n=3)
    out = tmp_path / "out"
    jobs = more_jobs(images, first, out)
    assert [job.labels is None for job in jobs] == [False, True, True]
    outcomes = more_all(jobs, MoreConfig())
    assert next(outcomes).fate is Fate.DONE
    outcomes.close()  # broken off
    again = list(more_all(jobs, MoreConfig()))
    assert [o.fate for o in again] == [Fate.THERE, Fate.DONE, Fate.DONE]
    for job in jobs:
        assert len(np.unique(np.asarray(read(job.out).data))) > 10
    assert (out / EXAMPLES_FILE).is_file()
    later = jobs[0].out.stat().st_mtime + 10
    os.utime(first / "im0.tif", (later, later))
    again = list(more_all(jobs, MoreConfig()))
    assert all(o.fate is Fate.THERE for o in again)
    assert [bool(o.message) for o in again] == [True, False, False], "what has changed since is named"
    others = list(more_all(jobs, MoreConfig(line=0.1)))
    assert all(f"with line {DEFAULT_LINE}, not 0.1" in o.message for o in others), "and so is what is asked otherwise"


def test_what_cannot_be_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    images, first, _ = written(tmp_path, n=2)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(images / "colour.png")
    found: dict[str, Outcome] = {o.name: o for o in more_all(more_jobs(images, first, tmp_path / "out"), MoreConfig())}
    assert found["im1.tif"].fate is Fate.DONE
    assert found["colour.png"].fate is Fate.FAILED and found["colour.png"].message
    with pytest.raises(FileNotFoundError, match="no folder"):
        more_jobs(images, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="another folder"):
        more_jobs(images, first, first)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="name them as the images"):
        more_jobs(images, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ValueError, match="line"):
        MoreConfig(line=2)
    write(first / "none.tif", np.zeros((160, 160), np.uint16), labels=True)
    with pytest.raises(ValueError, match="no object"):
        result_of(finding_more(MoreJob(images / "im0.tif", first / "none.tif", tmp_path / "x.tif"), MoreConfig()))


def test_examples_are_kept_with_their_weights(tmp_path: Path) -> None:
    image, labels = disks()
    session = ps.Session(ps.Case(image), completer=NO_NETWORK)
    session.take(np.where(labels == 6, 1, 0))
    examples = Finder().examples_of(session.query_similar())
    save_examples(tmp_path / "e.npz", examples, {})
    [kept] = load_examples(tmp_path / "e.npz", {})
    assert kept.form == examples[0].form and np.allclose(kept.inside, examples[0].inside, atol=0.01)
    other = ps.Session(ps.Case(disks(seed=5)[0]), completer=NO_NETWORK)
    assert len(other.propose_similar(None, known=[kept]).above()) > 8  # begins with proposals
    colour = ps.Session(ps.Case(np.stack([image] * 3), channel_axis=0), completer=NO_NETWORK)
    with pytest.raises(ValueError, match="another kind"):
        colour.propose_similar(known=[kept])
    from napari_probseg.nn.advised import AdvisedCVAE

    with pytest.raises(ValueError, match="other weights"):
        load_examples(tmp_path / "e.npz", {2: AdvisedCVAE()})
    for broken in (b"", b"PK nothing", (tmp_path / "e.npz").read_bytes()[:-300]):
        (tmp_path / "b.npz").write_bytes(broken)
        with pytest.raises(ValueError, match="remove it"):
            load_examples(tmp_path / "b.npz", {})
    with pytest.raises(FileNotFoundError):
        load_examples(tmp_path / "none.npz", {})


def test_examples_of_an_image_take_the_place_of_those_that_it_gave_before(tmp_path: Path) -> None:
    """What was corrected since is no example any more."""

    def examples(seed: int, *labels: int) -> list[Example]:
        image, found = disks(seed=seed)
        session = ps.Session(ps.Case(image), completer=NO_NETWORK)
        session.take(np.where(np.isin(found, labels), found, 0))
        return Finder().examples_of(session.query_similar(like=labels))

    first, corrected, others = examples(0, 6, 7), examples(0, 8), examples(5, 6)
    save_examples(tmp_path / "e.npz", joined(others, first), {})
    kept = joined(load_examples(tmp_path / "e.npz", {}), corrected)
    assert [e.form for e in kept] == [e.form for e in (*others, *corrected)]


@pytest.mark.parametrize(("options", "line"), [([], DEFAULT_LINE), (["--line", "0"], 0.0)])
def test_the_command_takes_what_is_above_the_line_of_the_window_and_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], line: float
) -> None:
    asked: list[MoreConfig] = []

    def found(job: MoreJob, config: MoreConfig) -> Generator[Progress, None, str]:
        asked.append(config)
        yield from ()
        return "none"

    monkeypatch.setattr("napari_probseg.more.finding_more", found)
    paths = [str(tmp_path / name) for name in ("image.tif", "first.tif", "all.tif")]
    for path in paths[:2]:
        Path(path).write_bytes(b"")
    said = CliRunner().invoke(app, ["more", paths[0], "--labels", paths[1], "--out", paths[2], *options])
    assert said.exit_code == 0, said.output
    assert asked == [MoreConfig(line)] and MoreConfig().line == DEFAULT_LINE

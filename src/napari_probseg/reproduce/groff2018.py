"""Fine-tuning to an image of an unseen object: BIFSeg (Wang et al. 2018) as Groff (2018) measured it.

Whole data sets are left out of the training of a small network. Their objects are then segmented with strokes, with
fine-tuning in the loop and without it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_probseg.case import Case, Marker
from napari_probseg.dataset.raw import LabelledImage, RawDataset, all_but, datasets_below, named
from napari_probseg.io.atomic import output_folder, write_whole
from napari_probseg.metrics import dice
from napari_probseg.nn.general import GeneralCVAE
from napari_probseg.nn.presets import General, load_network
from napari_probseg.progress import Progress
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.unet_cut import UNetCut
from napari_probseg.reproduce.findings import interval_over_sets, verdict
from napari_probseg.reproduce.unseen import GROUPS, Group, train_small
from napari_probseg.simulate.annotator import dab, first_dabs
from napari_probseg.training.adapt import AdaptConfig

N_STROKES = 15  # in all; the first pair counts as two
REPORTED_STROKES = (10, 15)  # after so many strokes
ADAPT_EVERY = 5
N_OBJECTS = 12  # of each set, where nothing is trained
UNSEEN = ("VocalFolds", "CarotidUltrasound", "ColonGlands", "HeartCT", "Pets")  # by the weights of docs/unseen.md
MIN_OBJECT_VOXELS = 30  # voxels of an object that is segmented
COLUMNS = {
    "alone": "network alone",
    "cut": "network + cut",
    "tuned10": "10 strokes, fine-tuned",
    "tuned15": "15 strokes, fine-tuned",
    "same10": "the same 10, not fine-tuned",
    "same15": "the same 15, not fine-tuned",
    "own10": "10 of its own, not fine-tuned",
    "own15": "15 of its own, not fine-tuned",
}
PUBLISHED = {
    "Groff 2018, liver": {"alone": 0.516, "cut": 0.532, "tuned10": 0.873, "tuned15": 0.891},
    "Groff 2018, spleen": {"alone": 0.417, "cut": 0.484, "tuned10": 0.892, "tuned15": 0.918},
}

FINDINGS = (
    ("the cut improves what the network finds alone", "cut", "alone"),
    ("10 strokes improve on the cut", "tuned10", "cut"),
    ("15 strokes improve on 10", "tuned15", "tuned10"),
    ("fine-tuning gains over 10 strokes of its own", "tuned10", "own10"),
    ("fine-tuning gains over 15 strokes of its own", "tuned15", "own15"),
)

Scores = dict[str, float]
Stroke = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True)
class Target:
    """One object of an image.

    Parameters
    ----------
    image : (C, Y, X) or (C, Z, Y, X) float32 array
    truth : bool array of the spatial shape
    spacing : tuple of float
        mm.
    """

    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    spacing: tuple[float, ...]


def reproduce(
    folder: str | Path,
    *,
    data: str | Path,
    n_steps: int | None = None,
    n_objects: int | None = None,
    seed: int = 0,
    groups: Mapping[int, Group] | None = None,
    weights: str | Path | None = None,
    sets: Sequence[str] = UNSEEN,
) -> Iterator[Progress]:
    """Train without the left-out sets, segment their objects, write ``groff2018.md``; go on where it was broken off.

    With ``weights`` nothing is trained: images of the sets that these have not seen are segmented.

    Parameters
    ----------
    folder : path
        Gets the networks, each object's Dice (``objects.jsonl``) and the table.
    data : path
        A folder of nnU-Net v2 raw data sets.
    n_steps, n_objects : int, optional
        Steps of each training and objects of each set, where they are to be other than the groups' own.
    seed : int
        Of weights, crops and first strokes.
    groups : mapping of int to Group, optional
        By the number of axes; `GROUPS` if absent.
    weights : path, optional
        A general network of images that has not seen the ``sets``.
    sets : sequence of str
        Their names, where there are ``weights``; see `napari_probseg.dataset.raw.named`.

    Yields
    ------
    Progress
        After each step of training, then after each object.

    Raises
    ------
    FileNotFoundError
        If a data set that is to be left out is not there.
    """
    folder, datasets = output_folder(folder), datasets_below(data)
    rows = _Rows(folder / "objects.jsonl")
    if weights is None:
        groups = groups or GROUPS
        command = f"--seed {seed}"
        yield from _with_small(rows, folder, datasets, groups, n_steps=n_steps, n_objects=n_objects, seed=seed)
    else:
        named_sets = "".join(f" --sets {name}" for name in sets) if tuple(sets) != UNSEEN else ""
        command = f"--seed {seed} --weights {Path(weights).name}{named_sets}"
        completer = UNetCut({2: _general(weights)}, device="cpu")
        for dataset in named(sets, datasets):
            yield from _segment(rows, completer, dataset, n_objects=n_objects or N_OBJECTS, seed=seed)
    write_whole(folder / "groff2018.md", table(rows.by_set(), command=command).encode())


def _with_small(
    rows: _Rows,
    folder: Path,
    datasets: list[RawDataset],
    groups: Mapping[int, Group],
    *,
    n_steps: int | None,
    n_objects: int | None,
    seed: int,
) -> Iterator[Progress]:
    """Train a small network for each group, and segment the objects that it has not seen."""
    left_out = {ndim: named(group.left_out, datasets) for ndim, group in groups.items()}
    seen = all_but((name for group in groups.values() for name in group.left_out), datasets)
    network: GeneralCVAE | None = None
    for ndim, group in sorted(groups.items()):
        yield from train_small(group, folder / f"{ndim}d", seen, start=network, n_steps=n_steps, seed=seed)
        trained = load_network(folder / f"{ndim}d" / "weights.safetensors")
        assert isinstance(trained, GeneralCVAE)
        network = trained
        completer = UNetCut({ndim: network}, device="cpu")
        for dataset in left_out[ndim]:
            yield from _segment(rows, completer, dataset, n_objects=n_objects or group.n_objects, seed=seed)


def _general(weights: str | Path) -> General:
    network = load_network(weights)
    if not isinstance(network, General):
        raise ValueError(f"the weights in {weights} are not of a general network: choose those of `train general`")
    return network


def _segment(rows: _Rows, completer: UNetCut, dataset: RawDataset, *, n_objects: int, seed: int) -> Iterator[Progress]:
    """Segment an object of each image of the test part, those left out that have been before."""
    names = dataset.split("test")[:n_objects]
    for i, name in enumerate(names):
        if not rows.has(dataset.folder.name, name) and (found := target(dataset.load(name))) is not None:
            rows.add(dataset.folder.name, name, measured(completer, found, seed=seed))
        yield Progress(i + 1, len(names))


def target(case: LabelledImage) -> Target | None:
    """Return one label of an image (one instance, where ids tell them apart), None if all of them are tiny."""
    ids, sizes = np.unique(case.label[case.label > 0], return_counts=True)
    ids = ids[sizes >= MIN_OBJECT_VOXELS]
    if not len(ids):
        return None
    chosen = np.random.default_rng(zlib.crc32(case.name.encode())).choice(ids)
    return Target(case.image, case.label == chosen, case.spacing)


def measured(completer: UNetCut, target: Target, *, config: AdaptConfig | None = None, seed: int = 0) -> Scores:
    """Return the Dice of an object in every column of `COLUMNS`."""
    tuned, strokes = _segmented(completer, target, config=config or AdaptConfig(), seed=seed)
    same, _ = _segmented(completer, target, strokes=strokes, seed=seed)
    own, _ = _segmented(completer, target, seed=seed)
    scores = {"alone": own["alone"], "cut": own["cut"]}
    for name, course in (("tuned", tuned), ("same", same), ("own", own)):
        scores |= {f"{name}{n}": course[str(n)] for n in REPORTED_STROKES}
    return scores


def _segmented(
    completer: UNetCut,
    target: Target,
    *,
    config: AdaptConfig | None = None,
    strokes: list[Stroke] | None = None,
    seed: int = 0,
) -> tuple[Scores, list[Stroke]]:
    """Segment an object; each stroke lies where the result is most wrong, or is one of those given.

    Returns
    -------
    scores : dict
        Dice after the first pair, ``"alone"`` and ``"cut"``, and after each number of `REPORTED_STROKES`.
    strokes : list
        Those that followed the first pair; fewer once the result is right.
    """
    case = Case(target.image, spacing=target.spacing, channel_axis=0)
    case = case.mark(*first_dabs(target.truth, seed=seed, spacing=target.spacing))
    completion = completer.complete(case)
    alone, result = (_mask(completion, smoothness) for smoothness in (0.0, CutConfig().smoothness))
    scores = {"alone": dice(alone, target.truth), "cut": dice(result, target.truth)}
    drawn: list[Stroke] = []
    for n in range(3, N_STROKES + 1):
        if strokes is None:
            stroke = dab(result, target.truth, spacing=target.spacing)
        else:
            stroke = strokes[n - 3] if n - 3 < len(strokes) else None
        if stroke is not None:
            case = case.mark(*stroke)
            drawn.append(stroke)
        if config is not None and n % ADAPT_EVERY == 0:
            completer = completer.adapt(case, config)
        if strokes is None or n in REPORTED_STROKES:
            result = _mask(completer.complete(case), CutConfig().smoothness)
        if n in REPORTED_STROKES:
            scores[str(n)] = dice(result, target.truth)
    return scores, drawn


def _mask(completion: Completion, smoothness: float) -> NDArray[np.bool_]:
    return np.asarray(completion.candidates(CutConfig(smoothness=smoothness)).partial[0] == Marker.OBJECT)


class _Rows:
    """The scores of objects, in a file with one line for each, so that nothing is measured twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self._scores: dict[tuple[str, str], Scores] = {}
        for line in lines:
            row = json.loads(line)
            self._scores[row["set"], row["case"]] = row["scores"]

    def has(self, name: str, case: str) -> bool:
        return (name, case) in self._scores

    def add(self, name: str, case: str, scores: Scores) -> None:
        self._scores[name, case] = scores
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"set": name, "case": case, "scores": scores}) + "\n")

    def by_set(self) -> dict[str, list[Scores]]:
        names = dict.fromkeys(name for name, _ in self._scores)
        return {name: [s for (n, _), s in self._scores.items() if n == name] for name in names}


def table(rows: Mapping[str, list[Scores]], *, command: str) -> str:
    """Return the means of every set as markdown, beside the published ones, and what they say of the order."""
    head = ["", "objects", *COLUMNS.values(), "published order", "gain"]
    lines = [
        f"`napari-probseg reproduce groff2018 {command}`: mean Dice of the objects, one of each test image. No "
        f"network has seen an image of the set that it segments. Strokes are dabs where the result is most wrong, the "
        f"first pair included; fine-tuned after each {ADAPT_EVERY}th. “Published order”: alone < cut < 10 < 15 "
        f"strokes. “Gain”: what fine-tuning brings after {N_STROKES} strokes, against the same strokes and against as "
        f"many that answer the errors of the network that is not fine-tuned.",
        "",
        _line(head),
        _line(["---"] * len(head)),
    ]
    for name, published in PUBLISHED.items():
        lines.append(_line([name, "", *(f"{published[c]:.3f}" if c in published else "" for c in COLUMNS), "yes", ""]))
    means = {name: {c: float(np.mean([s[c] for s in scores])) for c in COLUMNS} for name, scores in rows.items()}
    if len(means) > 1:
        means["**mean**"] = {c: float(np.mean([m[c] for m in means.values()])) for c in COLUMNS}
    for name, mean in means.items():
        order = [mean[c] for c in ("alone", "cut", "tuned10", "tuned15")]
        gain = f"{mean['tuned15'] - mean['same15']:+.3f}, {mean['tuned15'] - mean['own15']:+.3f}"
        in_order = "yes" if all(a < b for a, b in pairwise(order)) else "no"
        n = str(len(rows[name])) if name in rows else ""
        lines.append(_line([name, n, *(f"{mean[c]:.3f}" for c in COLUMNS), in_order, gain]))
    return "\n".join([*lines, "", *_findings(rows)]) + "\n"


def _findings(rows: Mapping[str, list[Scores]]) -> list[str]:
    """Return a table of what is said of the order and of the gain, with intervals over the objects of each set."""
    lines = [_line(["finding", "published", "here: difference of the Dice", "verdict"]), _line(["---"] * 4)]
    for claim, better, worse in FINDINGS:
        found = interval_over_sets([[s[better] - s[worse] for s in scores] for scores in rows.values()])
        lines.append(_line([claim, published(better, worse), found.signed, verdict(found).value]))
    return lines


def published(better: str, worse: str) -> str:
    """Return from which Dice to which two columns lead in what was published; nothing where one was not published."""
    known = (dice_of for dice_of in PUBLISHED.values() if better in dice_of and worse in dice_of)
    return ", ".join(f"{dice_of[worse]:.3f} to {dice_of[better]:.3f}" for dice_of in known)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

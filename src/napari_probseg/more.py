"""More like this for files: from the first objects of an image, or of some images of a folder, to all of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.batch import by_stem, ending_of_result, there_already
from napari_probseg.io import read, refuse_output, write
from napari_probseg.io.atomic import locked, output_folder
from napari_probseg.io.labels import read_labels
from napari_probseg.io.made_with import MadeWith
from napari_probseg.io.paths import why_no_folder
from napari_probseg.progress import Fate, Outcome, Progress, counted, result_of
from napari_probseg.session.session import Session
from napari_probseg.similar.examples import EXAMPLES_FILE, Example
from napari_probseg.similar.offer import DEFAULT_LINE, NOTHING_ALIKE


@dataclass(frozen=True)
class MoreConfig:
    """How objects are looked for.

    Parameters
    ----------
    line : float
        How likely an object must be to be taken, in [0, 1].
    weights, device : str
        See `load_completer`.
    resample : bool
        See `napari_probseg.io.labels.laid_on`.

    Raises
    ------
    ValueError
        If the line is none.
    """

    line: float = DEFAULT_LINE
    weights: str = "general"
    device: str = "auto"
    resample: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.line <= 1:
            raise ValueError(f"the line must be in [0, 1], got {self.line}")


@dataclass(frozen=True)
class MoreJob:
    """One image.

    Parameters
    ----------
    image : path
    labels : path or None
        Its first objects; without them the examples of other images are what is looked for.
    out : path
    """

    image: Path
    labels: Path | None
    out: Path


@dataclass(frozen=True, eq=False)
class Found:
    """What became of an image.

    Parameters
    ----------
    n_first, n_new : int
        Objects that were there, and that were found.
    examples : list of Example
        What those that were there look like.
    """

    n_first: int
    n_new: int
    examples: list[Example]

    def __str__(self) -> str:
        if not self.n_new:
            return f"{counted(self.n_first, 'object')}, none more: {NOTHING_ALIKE}"
        return f"{self.n_first + self.n_new} objects, {self.n_new} of them found"


def finding_more(
    job: MoreJob, config: MoreConfig, *, known: Sequence[Example] = (), completer: Any = None
) -> Generator[Progress, None, Found]:
    """Find objects like the first ones of an image, and write all of them.

    Parameters
    ----------
    job : MoreJob
    config : MoreConfig
    known : sequence of Example
        Of other images.
    completer : Completer, optional
        Loaded as the configuration says if absent.

    Yields
    ------
    Progress

    Raises
    ------
    FileNotFoundError
        If the image, the labels or the weights are missing.
    ValueError
        If one of them cannot be used, or there is no object to be like.
    OSError
        If the result cannot be written.
    RuntimeError
        If the device is not there.
    """
    from napari_probseg.proposers import load_completer
    from napari_probseg.similar.finder import finder_of

    source = read(job.image)
    refuse_output(job.out, made_from=(job.image, job.labels), like=source)
    session = Session(source.case())
    if job.labels is not None:
        labels = read_labels(job.labels, source, of=job.image, resample=config.resample)
        if not labels.any():
            raise ValueError(f"{job.labels} holds no object: label one at least, or leave it out")
        session.take(labels)
    n_first = len(session.finished)
    finder = finder_of(completer or load_completer(config.weights, device=config.device))
    query = session.query_similar(known=known)
    session.offer_similar((yield from finder.finding(query, None)))
    if session.similar.above(config.line):
        session.take_all_similar(config.line)
    fits = session.max_label < 2**16  # what a PNG holds, too
    write(job.out, session.objects.astype(np.uint16 if fits else np.int32), like=source, labels=True)
    return Found(n_first, len(session.finished) - n_first, finder.examples_of(query))


def more_jobs(folder: Path, labels: Path, out: Path) -> list[MoreJob]:
    """Return a job for each image of a folder, those with labels first; the labels of an image have its name.

    Raises
    ------
    FileNotFoundError
        If a folder is not there, there are no images, or none has labels.
    ValueError
        If the results would lie among what they come from, or two files have one name.
    """
    for given in (folder, labels):
        if why := why_no_folder(given):
            raise FileNotFoundError(f"there is no folder {given}: {why}")
        if out.resolve() == given.resolve():
            raise ValueError(f"the results would lie in {given} among what they come from: name another folder")
    images, first = by_stem(folder), by_stem(labels)
    if not images.keys() & first.keys():
        raise FileNotFoundError(f"{labels} holds no labels of an image in {folder}: name them as the images")
    jobs = [MoreJob(image, first.get(stem), out / f"{stem}{ending_of_result(image)}") for stem, image in images.items()]
    return sorted(jobs, key=lambda job: job.labels is None)


def more_all(jobs: Sequence[MoreJob], config: MoreConfig) -> Iterator[Outcome]:
    """Find objects in images, those with labels first; images without go by what was learnt of these.

    A result appears when it is whole; what is there already is left as it is, and told of where it was made otherwise
    than is asked, or before what it was made from changed. What was learnt is kept beside the
    results, so that it can be broken off at any moment, and begun again.

    Yields
    ------
    Outcome
        After each image.

    Raises
    ------
    TimeoutError
        If another program is filling the folder.
    """
    from napari_probseg.proposers import load_completer
    from napari_probseg.similar.finder import finder_of
    from napari_probseg.similar.memory import joined, load_examples, save_examples

    completer = load_completer(config.weights, device=config.device)
    networks = finder_of(completer).networks
    folder = jobs[0].out.parent
    output_folder(folder)
    with locked(folder, timeout=1):
        known: list[Example] = []
        if (folder / EXAMPLES_FILE).is_file():
            known = load_examples(folder / EXAMPLES_FILE, networks)
        made = MadeWith(folder)
        made.note({job.out.name: _asked(job, config) for job in jobs if not job.out.exists()})
        for job in jobs:
            if job.out.exists():
                other = made.difference(job.out.name, _asked(job, config))
                yield there_already(job.image.name, job.out, made_from=(job.image, job.labels), other=other)
                continue
            try:
                found = result_of(finding_more(job, config, known=known, completer=completer))
            except (ValueError, TypeError, OSError, RuntimeError, LookupError, MemoryError) as error:
                yield Outcome(job.image.name, Fate.FAILED, str(error) or type(error).__name__)
                continue
            if found.examples:
                known = joined(known, found.examples)
                save_examples(folder / EXAMPLES_FILE, known, networks)
            yield Outcome(job.image.name, Fate.DONE, str(found))


def _asked(job: MoreJob, config: MoreConfig) -> dict[str, Any]:
    """Return what a result depends on beside the content of files."""
    labels = job.labels and str(job.labels.resolve())
    return {"labels": labels, "line": config.line, "weights": config.weights, "resample": config.resample}

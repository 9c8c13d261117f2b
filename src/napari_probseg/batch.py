"""Batch completion of a folder of images, here or on a dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.case import Marker, Plane
from napari_probseg.io import NIFTI, READABLE, TIFF, read, refuse_output, write
from napari_probseg.io.atomic import locked, output_folder
from napari_probseg.io.labels import read_mask
from napari_probseg.io.made_with import MadeWith
from napari_probseg.io.paths import CHECK_ITS_NAME, why_no_folder
from napari_probseg.progress import Fate, Outcome, counted


@dataclass(frozen=True)
class Job:
    """One image to complete; all paths as every worker sees them.

    Parameters
    ----------
    image, out : path
    inside, outside : path or None
        Masks of strokes; a U-Net that was trained on such objects needs none.
    """

    image: Path
    inside: Path | None
    outside: Path | None
    out: Path


@dataclass(frozen=True)
class BatchConfig:
    """How the images of a batch are completed.

    Parameters
    ----------
    weights, device, label : str
        See `load_completer`.
    smoothness, edges : float
        See `CutConfig`.
    plane : (axis, index), optional
        Of volumes, the plane that is completed alone.
    resample : bool
        See `laid_on`.

    Raises
    ------
    TypeError, ValueError
        If ``smoothness`` or ``edges`` are no numbers in their range.
    """

    weights: str = "general"
    device: str = "auto"
    smoothness: float = 1.0
    edges: float = 2.0
    plane: Plane | None = None
    label: str | None = None
    resample: bool = False

    def __post_init__(self) -> None:
        from napari_probseg.proposers.completion import CutConfig

        CutConfig(self.smoothness, self.edges)


def jobs_of(folder: Path, out: Path, *, inside: Path | None = None, outside: Path | None = None) -> list[Job]:
    """Return a job for each image of a folder; the strokes of an image have its name, with any ending.

    An image whose strokes are not in a folder that is named is told of, and not completed from the others alone.

    Raises
    ------
    FileNotFoundError
        If a folder is not there, or there are no images.
    ValueError
        If the results would lie among what they come from, or two files have one name.
    """
    for given in (folder, inside, outside):
        if given is not None and (why := why_no_folder(given)):
            why = "name folders for the images and for their strokes" if why == CHECK_ITS_NAME else why
            raise FileNotFoundError(f"there is no folder {given}: {why}")
        if given is not None and os.path.realpath(out) == os.path.realpath(given):
            raise ValueError(f"the results would lie in {given} among what they come from: name another folder")
    images = by_stem(folder)
    if not images:
        raise FileNotFoundError(f"{folder} holds no image that can be read: their names end in {', '.join(READABLE)}")
    within, without = (_strokes(given, images) for given in (inside, outside))
    return [
        Job(image, within.get(stem), without.get(stem), out / f"{stem}{ending_of_result(image)}")
        for stem, image in images.items()
    ]


def complete_all(jobs: Sequence[Job], config: BatchConfig, *, client: Any = None) -> Iterator[Outcome]:
    """Complete images; those whose result is there already are left as they are.

    Of these it is told where they were made otherwise than is asked, or before what they were made from changed. A
    result appears when it is whole. It can be broken off at any moment, and begun again with the same jobs.

    Parameters
    ----------
    jobs : sequence of Job
        With all results in one folder, which is made.
    config : BatchConfig
    client : distributed.Client, optional
        Of a cluster whose workers see the same files, and are to do it.

    Yields
    ------
    Outcome
        After each image, in the order of the jobs, or, on a cluster, in that of their ends. One that cannot be read or
        completed is named.

    Raises
    ------
    TimeoutError
        If another program is filling the folder.
    FileNotFoundError, ValueError, RuntimeError
        As `load_completer`.
    """
    from napari_probseg.proposers import load_completer

    if not jobs:
        return
    if client is None:  # else it is the workers' to load
        load_completer(config.weights, label=config.label, device=config.device)
    folder = output_folder(jobs[0].out.parent)
    with locked(folder, timeout=1):
        for half in folder.glob(".*.part"):  # of a program that was killed while it wrote
            half.unlink()
        made = MadeWith(folder)
        made.note({job.out.name: _asked(job, config) for job in jobs if not job.out.exists()})
        to_do = []
        for job in jobs:
            if job.out.exists():
                other = made.difference(job.out.name, _asked(job, config))
                given = (job.image, job.inside, job.outside)
                yield there_already(job.image.name, job.out, made_from=given, other=other)
            elif client is None:
                yield _attempt(job, config)
            else:
                to_do.append(job)
        if to_do:
            yield from _on_cluster(to_do, partial(_attempt, config=config), client)


def complete_file(job: Job, config: BatchConfig) -> int:
    """Complete one image, write the mask of the object, and return its number of voxels.

    Raises
    ------
    FileNotFoundError, ValueError, OSError, RuntimeError
        As `read`, `load_completer`, its ``propose`` and `write`.
    """
    from napari_probseg.proposers import load_completer

    source = read(job.image)
    refuse_output(job.out, made_from=(job.image, job.inside, job.outside), like=source)
    masks = [
        None if path is None else read_mask(path, source, of=job.image, resample=config.resample)
        for path in (job.inside, job.outside)
    ]
    completer = load_completer(config.weights, label=config.label, device=config.device)
    candidates = completer.propose(
        source.case().mark(*masks), plane=config.plane, smoothness=config.smoothness, edges=config.edges
    )
    mask = candidates.partial[0] == Marker.OBJECT
    write(job.out, mask, like=source, labels=True)
    return int(np.count_nonzero(mask))


def _attempt(job: Job, config: BatchConfig) -> Outcome:
    """Complete one image; an error becomes a failed outcome."""
    for strokes in (job.inside, job.outside):
        if strokes is not None and not strokes.is_file():
            why = f"there is no stroke yet: {strokes.parent} holds no mask named {strokes.stem}, in just these letters"
            return Outcome(job.image.name, Fate.FAILED, why)
    try:
        n = complete_file(job, config)
    except (ValueError, TypeError, OSError, RuntimeError, LookupError, MemoryError) as error:
        return Outcome(job.image.name, Fate.FAILED, str(error) or type(error).__name__)
    return Outcome(job.image.name, Fate.DONE, counted(n, "voxel"))


def there_already(name: str, out: Path, *, made_from: Iterable[Path | None], other: str = "") -> Outcome:
    """Return the outcome of an image whose result is left as it is.

    Parameters
    ----------
    name : str
    out : path
    made_from : iterable of path or None
        Of which those are named that have changed since.
    other : str
        How it was made otherwise than is asked; see `MadeWith.difference`.
    """
    changed = [str(path) for path in made_from if path and path.is_file() and _when(path) > _when(out)]
    reasons = ([f"with {other}"] if other else []) + ([f"before {' and '.join(changed)} changed"] if changed else [])
    advice = f"made {', and '.join(reasons)}: remove it to have it made anew" if reasons else ""
    return Outcome(name, Fate.THERE, advice)


def _asked(job: Job, config: BatchConfig) -> dict[str, Any]:
    """Return what a result depends on beside the content of files."""
    strokes = {name: path and str(path.resolve()) for name, path in (("inside", job.inside), ("outside", job.outside))}
    options = ("weights", "smoothness", "edges", "plane", "label", "resample")
    return strokes | {name: getattr(config, name) for name in options}


def _when(path: Path) -> float:
    return path.stat().st_mtime


@contextmanager
def cluster(*, n_workers: int = 0, scheduler: str | None = None) -> Iterator[Any]:
    """Yield the client of a cluster: one that runs already, or one of processes on this machine; else None.

    Parameters
    ----------
    n_workers : int
        How many processes to start on this machine, where no scheduler is named.
    scheduler : str, optional
        The address of a scheduler of dask.distributed that runs already.

    Yields
    ------
    distributed.Client or None
        None if neither was asked for.

    Raises
    ------
    RuntimeError
        If dask.distributed is not installed.
    OSError
        If nothing answers at the address.
    """
    if not n_workers and scheduler is None:
        yield None
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise RuntimeError("a cluster needs dask: pip install 'napari-probseg[cluster]'") from error
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    local = LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR)
    with local, Client(local) as client:
        yield client


def _on_cluster(jobs: Sequence[Job], do: Callable[[Job], Outcome], client: Any) -> Iterator[Outcome]:
    from distributed import as_completed

    # A worker that dies of an image, for lack of memory say, shall not take the others down with it.
    futures = {future: job for job, future in zip(jobs, client.map(do, jobs, pure=False), strict=True)}
    try:
        for future in as_completed(list(futures)):
            error = future.exception()
            failed = Outcome(futures[future].image.name, Fate.FAILED, f"the worker failed: {error}")
            yield future.result() if error is None else failed
    finally:
        client.cancel(list(futures))


def by_stem(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by their names without the ending."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in READABLE if path.name.lower().endswith(e)), None)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        stem = path.name[: -len(ending)]
        if stem in found:
            raise ValueError(f"{folder} has both {found[stem].name} and {path.name}: give them different names")
        found[stem] = path
    return found


def _strokes(folder: Path | None, images: Mapping[str, Path]) -> dict[str, Path]:
    """Return the masks of images by their names; the place where one ought to be, where it is not."""
    if folder is None:
        return {}
    found = by_stem(folder)
    return {stem: found.get(stem, folder / image.name) for stem, image in images.items()}


def ending_of_result(image: Path) -> str:
    """Return the ending of an image if labels can be written so; a JPEG spoils them."""
    return next((ending for ending in (*NIFTI, *TIFF) if image.name.lower().endswith(ending)), ".png")

"""Tasks of the next image: ranking a folder, and reading one of its images."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from napari_probseg.engine.client import Engine
from napari_probseg.engine.local import Local
from napari_probseg.engine.teaching import Rank, Suggestion
from napari_probseg.progress import counted
from napari_probseg.widgets.tasks.dataset import Steps
from napari_probseg.widgets.tasks.series import joined


def ranking(
    engine: Engine | Local, folder: Path | None, images: Path, found: list[Suggestion], stop: Event, device: str
) -> Steps:
    """Rank the images of a folder, adding each to what is found as soon as it is looked at."""
    passed_over: list[Suggestion] = []
    steps, is_told = engine.answering(Rank(folder, images, device)), False
    try:
        told = next(steps)
        while True:
            if isinstance(told, Suggestion):
                (passed_over if told.passed_over else found).append(told)
                found.sort(key=lambda one: -one.uncertainty)
            yield None if isinstance(told, Suggestion) else told
            is_told, was_told = is_told or stop.is_set(), is_told
            told = steps.send("stop") if is_told and not was_told else next(steps)
    except StopIteration as done:
        n_looked_at, n = done.value
    finally:
        steps.close()
    if n_looked_at < n:
        return f"Stopped after {n_looked_at} of {counted(n, 'image')}."
    sentence = f"{counted(len(found), 'image')}, the most uncertain first: click one to open it."
    if passed_over:
        first = passed_over[0]
        sentence += f" {len(passed_over)} passed over; {first.path.name}: {first.passed_over}."
    return sentence


def reading(path: Path) -> Steps:
    """Read an image file; return the arguments of ``viewer.add_image``."""
    from napari_probseg.napari_io.layer_data import read_layers

    yield f"Opening {path.name}…"
    data, attributes, _ = read_layers(str(path))[0]
    return path, *joined(data, attributes)

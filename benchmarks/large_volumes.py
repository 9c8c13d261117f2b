"""Peak memory and time of completing and carrying in a volume of 512x512x1000 that is not in memory.

    python benchmarks/large_volumes.py [--markdown FILE]

A memory map and a dask array, each in a process of its own (its resident memory at most, shared pages of the file among
it); and the time of a 3-D answer there over that in the crop of 128^3 around the object, in turn.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import napari_probseg as ps
from napari_probseg.morphology import ball

SHAPE = (1000, 512, 512)
MIDDLE, RADIUS = (500, 256, 256), 40
CROP = tuple(slice(m - 64, m + 64) for m in MIDDLE)
ROUNDS = 7


def written(path: Path) -> None:
    """Write a volume of noise with a ball in it."""
    volume = np.memmap(path, dtype=np.uint8, mode="w+", shape=SHAPE)
    noise = np.random.default_rng(0).integers(60, 90, SHAPE[1:], dtype=np.uint8)
    for z in range(SHAPE[0]):
        volume[z] = np.roll(noise, 37 * z, axis=1)
    inside = ball((128,) * 3, (64,) * 3, RADIUS, np.ones(3))
    volume[CROP] += 80 * inside.astype(np.uint8)
    volume.flush()


def opened(path: Path, kind: str) -> Any:
    """Return the volume as a memory map or as a dask array of it."""
    volume = np.memmap(path, dtype=np.uint8, mode="r", shape=SHAPE)
    if kind == "memory map":
        return volume
    import dask.array

    return dask.array.from_array(volume, chunks=(16, 256, 256))


def marked(image: Any, middle: tuple[int, ...]) -> ps.Case:
    """Return a case with a dab in the middle of the ball, and one beside it."""
    dab = ball((1, 13, 13), (0, 6, 6), 6, np.ones(3))
    z, y, x = middle
    case = ps.Case(image).mark(inside=dab, where=np.s_[z : z + 1, y - 6 : y + 7, x - 6 : x + 7])
    return case.mark(outside=dab, where=np.s_[z : z + 1, y - 6 : y + 7, x + 46 : x + 59])


def worked(path: Path, kind: str) -> dict[str, float]:
    """Complete a slice, carry it, undo, complete the volume; return the seconds of each and the peak memory in GB."""
    session = ps.Session(marked(opened(path, kind), MIDDLE), completer=ps.load_completer(device="cpu"))
    start = peak()
    told: dict[str, float] = {}
    told["complete a slice"] = seconds(lambda: (session.complete(plane=(0, MIDDLE[0])), session.accept()))
    told["carry it"] = seconds(lambda: (session.carry(plane=(0, MIDDLE[0])), session.accept()))
    session.undo()
    session.undo()
    told["complete the volume"] = seconds(lambda: (session.complete(), session.accept()))
    told["a stroke"] = seconds(lambda: session.mark(inside=np.ones((1, 5, 5)), where=np.s_[505:506, 254:259, 254:259]))
    return told | {"peak before, GB": start, "peak, GB": peak()}


def peak() -> float:
    """Return the most resident memory that this process has had, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def ratio(path: Path) -> tuple[float, float]:
    """Return the median seconds of completing in the volume and in its crop, in turn."""
    completer = ps.load_completer(device="cpu")
    image = opened(path, "memory map")
    cases = (marked(image, MIDDLE), marked(np.ascontiguousarray(image[CROP]), (64, 64, 64)))
    times = [[seconds(partial(completer.propose, case)) for case in cases] for _ in range(ROUNDS + 1)][1:]
    whole, crop = zip(*times, strict=True)
    return median(whole), median(crop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--work", nargs=2, metavar=("FILE", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        print(json.dumps(worked(Path(arguments.work[0]), arguments.work[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.dat"
        written(path)
        told = {kind: json.loads(in_own_process(path, kind)) for kind in ("memory map", "dask")}
        whole, crop = ratio(path)
    lines = ["| 512x512x1000 | " + " | ".join(told) + " |", "|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(f"{t[name]:.2f}" for t in told.values()) + " |" for name in told["dask"]]
    lines += [
        "",
        f"A 3-D answer / that in its crop of 128^3: {whole / crop:.2f} ({whole:.2f} / {crop:.2f} s; goal 1.2).",
    ]
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


def in_own_process(path: Path, kind: str) -> str:
    """Return what `worked` tells in a fresh process."""
    command = [sys.executable, __file__, "--work", str(path), kind]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()

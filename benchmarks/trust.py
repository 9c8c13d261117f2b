"""What becomes of broken files: each is read, or refused in one sentence that names it, in bounded time and memory.

    python benchmarks/trust.py [--files N] [--seed S] [--markdown FILE]

Every kind of filethat the package reads is made small and whole, then broken: cut off, bytes flipped, a block of
zeros or of noise, a number in its text made huge or negative, its text made deep, another kind of file under its
name. A trial is right if it is read, or refused by ValueError, OSError or MemoryError in one line with the file's
name (of a data set, its folder's). The parts of this benchmark are functions that return rows, one for each kind.
"""

from __future__ import annotations

import argparse
import re
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import napari_probseg as ps
from napari_probseg.dataset.collection import Collection

SHAPE = (12, 30, 40)
Read = Callable[[Path], object]
Break = Callable[[bytes, np.random.Generator], bytes]


@dataclass
class Row:
    """What became of the files of one kind."""

    kind: str
    n: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)


# Whole files ----------------------------------------------------------------------------------------------------------


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 999, SHAPE, dtype=np.uint16)


def session(path: Path) -> None:
    plane = image()[0]
    inside = np.zeros(plane.shape, bool)
    inside[5:9, 5:9] = True
    done = ps.Session(ps.Case(plane))
    done.mark(inside=inside)
    done.finish()
    done.take(np.eye(*plane.shape, dtype=np.uint8))
    done.save(path)


def weights(path: Path) -> None:
    import shutil
    from importlib import resources

    shutil.copyfile(Path(str(resources.files("napari_probseg"))) / "weights" / "wong2022.safetensors", path)


def data_set(folder: Path) -> None:
    collection = Collection.create(folder, ["cell"], ending=".tif")
    for i in range(2):
        collection.add(f"case_{i}", image()[i], (image()[i] > 500).astype(np.uint8), spacing=(1, 1))


def opened(folder: Path) -> object:
    collection = Collection(folder)
    return [(entry.metadata(), collection.load(entry.name)) for entry in collection.entries]


def load_weights(path: Path) -> object:
    from napari_probseg.nn.presets import load_network

    return load_network(path)


def made(folder: Path) -> Iterator[tuple[str, Path, Read]]:
    """Yield every kind of file, whole: its name, where it is, and what reads it."""

    def pixels(path: Path) -> object:
        return np.asarray(ps.read(path).data).sum()

    for ending in (".nii", ".nii.gz", ".tif"):
        ps.write(folder / f"image{ending}", image(), spacing=(2, 1, 1))
        yield f"NIfTI {ending}" if "nii" in ending else "TIFF", folder / f"image{ending}", pixels
    ps.write(folder / "image.png", image()[0])
    yield "PNG", folder / "image.png", pixels
    session(folder / "session.npz")
    yield "session", folder / "session.npz", lambda path: ps.Session.load(path, image()[0], any_image=True).script()
    weights(folder / "weights.safetensors")
    yield "weights", folder / "weights.safetensors", load_weights
    data_set(folder / "set")
    for name in ("dataset.json", "provenance/case_0/0001.json", "labelsTr/case_0.tif", "imagesTr/case_1_0000.tif"):
        yield f"data set: {name}", folder / "set" / name, lambda path: opened(folder / "set")


# Ways to break them ---------------------------------------------------------------------------------------------------


def cut_off(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    values = np.frombuffer(content, np.uint8).copy()
    where = rng.integers(0, min(len(values), int(rng.choice([64, 400, len(values)]))), int(rng.integers(1, 6)))
    values[where] = rng.integers(0, 256, len(where))
    return values.tobytes()


def blocked(content: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(content)))
    n = int(rng.integers(1, 600))
    filling = bytes(n) if rng.integers(2) else rng.bytes(n)
    return content[:start] + filling + content[start + n :]


def renumbered(content: bytes, rng: np.random.Generator) -> bytes:
    found = list(re.finditer(rb"\d+", content))
    if not found:
        return flipped(content, rng)
    at = found[int(rng.integers(len(found)))]
    new = rng.choice([b"-1", b"999999999999", b"1e308", b"NaN", b"null", b'"x"', b"[]", b"{}"])
    return content[: at.start()] + bytes(new) + content[at.end() :]


def deep(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(0, len(content))] + rng.choice([b"[", b'{"a":', b"<a>"]) * 100_000


def grown(content: bytes, rng: np.random.Generator) -> bytes:
    values = np.frombuffer(content, np.uint8).copy()
    at = int(rng.integers(0, min(len(values) - 4, 400)))
    values[at : at + 4] = np.frombuffer(rng.choice([b"\xff\x7f\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\x40"]), np.uint8)
    return values.tobytes()


def another(content: bytes, rng: np.random.Generator) -> bytes:
    kinds = [b"\x89PNG\r\n\x1a\n", b"II*\0", b"\x1f\x8b", b"PK\x03\x04", b"<html>", b"{}", b"null", b"[1]", b""]
    return bytes(rng.choice(np.array(kinds, dtype=object))) + content[:: int(rng.integers(1, 9))]


BREAKS: tuple[Break, ...] = (cut_off, flipped, blocked, renumbered, deep, grown, another)


# Parts ----------------------------------------------------------------------------------------------------------------


def broken_files(folder: Path, n_files: int, seed: int) -> Iterator[Row]:
    """Break files of every kind in every way."""
    kinds = list(made(folder))
    for number, (kind, path, read) in enumerate(kinds):
        rng, row, whole = np.random.default_rng([seed, number]), Row(kind), path.read_bytes()
        read(path)  # it is whole
        for i in range(-(-n_files // len(kinds))):
            way = BREAKS[i % len(BREAKS)]
            path.write_bytes(way(whole, rng))
            started = time.perf_counter()
            became, said = outcome(path, read)
            row.slowest = max(row.slowest, time.perf_counter() - started)
            row.n[became] += 1
            if became == "wrong":
                row.wrong.append(f"{way.__name__} {i}: {said}")
        path.write_bytes(whole)
        yield row


def outcome(path: Path, read: Read) -> tuple[str, str]:
    """Read a broken file; return what became of it, and what was said."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except (ValueError, OSError, MemoryError) as error:
        said = str(error)
        names = {path.name, *(part for part in path.parts[-3:] if part not in ("/", ""))}
        is_right = said.strip() and "\n" not in said and len(said) < 1000 and any(name in said for name in names)
        return ("refused" if is_right else "wrong"), f"{type(error).__name__}: {said[:300]!r}"
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {str(error)[:300]!r}"
    return "read", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    lines = ["| file | trials | read | refused in a sentence | wrong | slowest, s |", "|---|---:|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as folder:
        for row in broken_files(Path(folder), arguments.files, arguments.seed):
            n = row.n
            lines.append(
                f"| {row.kind} | {n.total()} | {n['read']} | {n['refused']} | {n['wrong']} | {row.slowest:.2f} |"
            )
            print(lines[-1], *row.wrong, sep="\n", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines.append(f"\nMemory of the process at most: {peak:.0f} MiB.")
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Trust, in one place: what is lost, what comes back, what it costs, and what becomes of broken files.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/trust.py [--part PART] [--markdown FILE]

It measures kills of the window, sequences of steps in scripts and in the widget, the cost of a stroke (all in
`journal.py`), what goes wrong while saving and training (`faults.py`), and broken files, which are in this file.

Every kind of file that the package reads is made small and whole, then broken: cut off, bytes flipped, a block of
zeros or of noise, a number in its text made huge or negative, its text made deep, another kind of file under its
name. A trial is right if it is read, or refused by ValueError, OSError or MemoryError in one line with the file's
name (of a data set, its folder's); a journal, the end of which may be cut off, is read up to there.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
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


def journal(path: Path) -> None:
    done = ps.Session(ps.Case(image()[0]))
    kept = done.keep(path)
    for i in range(4):
        done.mark(inside=np.eye(*SHAPE[1:], k=i, dtype=bool))
    done.finish()
    done.undo()
    kept.close()


def hostile(path: Path) -> None:
    """Write a journal whose records have the right checksums, and steps that nobody made."""
    journal(path)
    with path.open("ab") as file:
        file.write(record({"what": "step", "n_asked": 1e308, "step": {"verb": "mark", "arguments": {}, "changes": []}}))


def record(about: object, content: bytes = b"") -> bytes:
    text = json.dumps(about).encode()
    whole = struct.pack("<I", len(text)) + text + content
    return struct.pack("<II", len(whole), zlib.crc32(whole)) + whole


def forged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a whole journal with a record after it that is whole, too, and hostile."""
    side = int(rng.choice([1, 30, 40, 10**5, 10**9]))
    n = int(rng.choice([1, 3, 1000]))
    told = {"name": str(rng.choice(["partial", "objects", "x"])), "key": "_0", "where": [[0, side], [0, side]]}
    step = {"verb": str(rng.choice(["mark", "take", "adapt", "__import__"])), "arguments": {}, "changes": [told] * n}
    if rng.integers(2):
        step["learnt"] = {"key": "_learnt", "n_bytes": int(rng.choice([-1, 9, 2**27, 2**40]))}
    filling = bytes(int(rng.choice([0, 100, 10**6, 10**8])))
    packed = zlib.compress(filling, 9) if rng.integers(4) else rng.bytes(50)
    what = str(rng.choice(["step", "step", "step", "undo", "redo", "saved", "begin"]))
    return content + record({"what": what, "n_asked": 1, "step": step}, packed) * int(rng.choice([1, 20]))


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
    journal(folder / "work.journal")
    yield "journal", folder / "work.journal", lambda path: ps.Session.load(path, image()[0], any_image=True).script()
    hostile(folder / "hostile.journal")
    yield "journal: hostile", folder / "hostile.journal", lambda path: ps.Session.load(path, image()[0], any_image=True)
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
    return content[: rng.integers(0, len(content))] + bytes(rng.choice([b"[", b'{"a":', b"<a>"])) * 100_000


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
            way = forged if kind == "journal: hostile" and i % 2 else BREAKS[i % len(BREAKS)]
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


def files(n_files: int, seed: int) -> list[str]:
    """Break so many files; return a table of what became of them."""
    lines = ["| file | trials | read | refused in a sentence | wrong | slowest, s |", "|---|---:|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as folder:
        for row in broken_files(Path(folder), n_files, seed):
            n = row.n
            lines.append(
                f"| {row.kind} | {n.total()} | {n['read']} | {n['refused']} | {n['wrong']} | {row.slowest:.2f} |"
            )
            print(lines[-1], *row.wrong, sep="\n", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*lines, f"\nMemory of the process at most: {peak:.0f} MiB."]


# Each in a process of its own: by name, what is run, and how often in full.
PARTS = {
    "kills": ("journal.py", 100),
    "sequences": ("journal.py", 10_000),
    "widgets": ("journal.py", 500),
    "cost": ("journal.py", None),
    "faults": ("faults.py", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[*PARTS, "files"], help="all of them if absent")
    parser.add_argument("--n", type=int, help="how many kills or sequences")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    lines: list[str] = []
    for part in [arguments.part] if arguments.part else [*PARTS, "files"]:
        if part == "files":
            lines += files(arguments.files, arguments.seed)
            continue
        script, n = PARTS[part]
        told = [] if script == "faults.py" else [part, *([] if n is None else [str(arguments.n or n)])]
        command = [sys.executable, str(Path(__file__).with_name(script)), *told]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(done.stdout, end="", flush=True)
        lines += ["```text", done.stdout.rstrip(), "```", ""]
    print("\n".join(lines))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What is left when saving and training go wrong: a full disk, a read-only or removed folder, no memory, Ctrl-C.

    python benchmarks/faults.py

Each fault is a program of its own with a limit of time; it says in a line what came of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 120  # seconds for a program; one that takes longer counts as hung
COMMON = """
import os, sys, signal, shutil, resource, time
from pathlib import Path
import numpy as np
import napari_probseg as ps
from napari_probseg.session.journal import read_journal
folder = Path(sys.argv[1])
image = np.random.default_rng(0).random((200, 200))

def worked(n=12):
    session = ps.Session(ps.Case(image))
    for i in range(n):
        mask = np.random.default_rng(i).random(image.shape) < 0.1
        session.mark(mask, np.roll(mask, 1) & ~mask)
    return session

def attempt(*calls):
    said = []
    for call in calls:
        try:
            call()
            said.append("written")
        except (OSError, MemoryError, ValueError, RuntimeError) as error:
            said.append(f"{type(error).__name__}: {error}")
    return said

def short(told):
    return told.replace(f"{folder}/", "")

def left():
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name.endswith((".part", ".adding")))
"""
FULL = """
session = worked()
session.save(folder / "work.npz")
ps.write(folder / "labels.nii.gz", session.case.partial)
journal = session.keep(folder / "work.journal")
journal.flush()
n_saved = len(session.steps)
room = journal.path.stat().st_size + 200
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that may not grow fails in the midst, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
session.mark(image > 0.5)
said = attempt(
    lambda: session.save(folder / "work.npz"),
    lambda: ps.write(folder / "labels.nii.gz", np.random.default_rng(0).integers(0, 99, image.shape, dtype=np.uint8)),
)
written = journal.flush(20)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
old = len(ps.Session.load(folder / "work.npz", image).steps)
assert old == n_saved and ps.read(folder / "labels.nii.gz").shape == image.shape and not written and not left()
assert all("could not be written" in sentence and "\\n" not in sentence for sentence in said), said
told = journal.trouble
session.undo()
assert journal.flush(20) and len(read_journal(journal.path).stored.undone) == 1
print(short(f"{said[0]}; {told}; the old files whole, all in the journal once there is room"))
"""
READ_ONLY = """
session = worked(3)
locked = folder / "locked"
locked.mkdir()
session.save(locked / "work.npz")
ps.write(folder / "first.tif", session.case.partial)  # imports what it needs while this user may
os.chmod(folder, 0o755)
os.chmod(locked, 0o555)
os.chmod(locked / "work.npz", 0o444)
if os.geteuid() == 0:
    os.seteuid(65534)
journal = session.keep(locked / "work.journal")
session.mark(image > 0.9)
said = attempt(lambda: session.save(locked / "work.npz"), lambda: ps.write(locked / "new.tif", session.case.partial))
assert not journal.flush(20) and len(session.steps) == 4
assert all("could not be written" in sentence for sentence in said), said
print(short(f"{said[1]}; {journal.trouble}; 4 of 4 steps in memory"))
if os.getuid() == 0:
    os.seteuid(0)
os._exit(0)
"""
REMOVED = """
session = worked(3)
place = folder / "place"
journal = session.keep(place / "work.journal")
assert journal.flush(20)
shutil.rmtree(place)
session.mark(image > 0.9)
assert journal.flush(20) and len(read_journal(journal.path).stored.done) == 4
print("the folder and the journal are made again: 4 of 4 steps in it")
"""
NO_MEMORY = """
session = ps.Session(ps.Case(np.zeros((400, 400, 400), np.uint8)))
session.mark(np.ones((9, 9, 9)), where=np.s_[:9, :9, :9])
before = session.case.partial.sum(), len(session.steps)
now = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (now + 150 * 2**20, resource.RLIM_INFINITY))
whole = (400, 400, 400)
said = attempt(lambda: session.mark(np.ones(whole, bool)), lambda: session.take(np.ones(whole, np.int32)))
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert all(sentence.startswith("MemoryError") for sentence in said), said
assert (session.case.partial.sum(), len(session.steps)) == before
session.undo()
assert not session.case.partial.any()
print("MemoryError; state and history as before, undo takes back what there was")
"""
SAVING = """
session = worked()
session.save(folder / "work.npz")
print("saved", flush=True)
while True:
    session.save(folder / "work.npz")
"""
JOURNALLING = """
session = ps.Session(ps.Case(image))
session.keep(folder / "work.journal")
i = 0
while True:
    mask = np.zeros(image.shape, bool)
    mask[i // 200 % 200, i % 200] = True
    session.mark(mask)
    i += 1
    print(i, flush=True)
"""


def run(code: str, folder: Path) -> str:
    """Run a program to its end; return its last line, or that it hung or failed."""
    command = [sys.executable, "-c", COMMON + code, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"HUNG for more than {LIMIT} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return ("" if done.returncode == 0 else "FAILED ") + (lines[-1] if lines else "nothing was said")


def interrupted(command: list[str], seconds: float, *, ready: str) -> tuple[bool, list[str]]:
    """Press Ctrl-C some time after a program has said that it is at work; return whether it ended, and what it said."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
    said: list[str] = []
    end, output = time.monotonic() + LIMIT, process.stdout
    assert output is not None
    try:
        os.set_blocking(output.fileno(), False)
        while time.monotonic() < end and not any(ready in line for line in said):
            said += output.readlines()
            if process.poll() is not None:
                break
            time.sleep(0.02)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        while process.poll() is None and time.monotonic() < end + 60:
            said += output.readlines()
            time.sleep(0.02)
        said += output.readlines()
        return process.poll() is not None, said
    finally:
        process.kill()
        process.wait()


def interrupted_saving(n: int = 8) -> str:
    import numpy as np

    import napari_probseg as ps

    image = np.random.default_rng(0).random((200, 200))
    n_ended = n_whole = n_left = 0
    for i in range(n):
        with tempfile.TemporaryDirectory() as place:
            ended, _ = interrupted([sys.executable, "-c", COMMON + SAVING, place], 0.03 * i, ready="saved")
            n_ended += ended
            n_whole += len(ps.Session.load(Path(place) / "work.npz", image).steps) == 12
            n_left += len(list(Path(place).iterdir())) - 1
    return f"{n} times: {n_ended} ended, {n_whole} files whole, {n_left} part files left"


def interrupted_journal(n: int = 4) -> str:
    from napari_probseg.session.journal import read_journal

    n_ended = n_lost = n_told = 0
    for i in range(n):
        with tempfile.TemporaryDirectory() as place:
            ended, said = interrupted([sys.executable, "-c", COMMON + JOURNALLING, place], 0.1 * i, ready="5")
            n_steps = max(int(line) for line in said if line.strip().isdigit())
            n_ended, n_told = n_ended + ended, n_told + n_steps
            n_lost += max(0, n_steps - len(read_journal(Path(place) / "work.journal").stored.done))
    return f"{n} times: {n_ended} ended, {n_lost} of {n_told} steps lost"


def interrupted_training() -> str:
    """Press Ctrl-C in the midst of a training, and go on with what is there."""
    from napari_probseg.dataset.collection import Collection

    with tempfile.TemporaryDirectory() as place:
        import numpy as np

        collection = Collection.create(Path(place) / "set", ["cell"], ending=".tif")
        for i in range(4):
            image = np.random.default_rng(i).random((64, 64)).astype(np.float32)
            collection.add(f"case_{i}", image, (image > 0.7).astype(np.uint8), spacing=(1, 1))
        out = Path(place) / "out"
        command = [sys.executable, "-m", "napari_probseg.cli", "train", "isensee2017", str(out)]
        command += ["--data", str(Path(place) / "set"), "--steps", "100000"]
        ended, said = interrupted(command, 3.0, ready="/100000")
        left = [path.name for path in out.rglob("*") if path.name.endswith((".part", ".adding"))]
        trace = any("Traceback" in line for line in said)
        last = next((line.strip() for line in reversed(said) if line.strip()), "")
        return f"ended: {ended}, part files left: {len(left)}, a traceback: {trace}; last said {last[-80:]!r}"


def main() -> None:
    for name, code in (
        ("full disk", FULL),
        ("read-only folder", READ_ONLY),
        ("removed folder", REMOVED),
        ("out of memory", NO_MEMORY),
    ):
        with tempfile.TemporaryDirectory() as place:
            print(f"{name}: {run(code, Path(place))}", flush=True)
    print(f"Ctrl-C while saving, {interrupted_saving()}", flush=True)
    print(f"Ctrl-C at work with a journal, {interrupted_journal()}", flush=True)
    print(f"Ctrl-C while training: {interrupted_training()}", flush=True)


if __name__ == "__main__":
    main()

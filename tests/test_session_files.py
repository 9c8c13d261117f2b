"""A session in a file and as a script: everything comes back, on its own image alone."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_probseg as ps
from fakes import GrowingProposer
from napari_probseg.session.identity import Identity, OtherImageError
from napari_probseg.session.script import pack, unpack
from sessions import square, state, worked


def test_saving_keeps_everything(session: ps.Session, tmp_path: Path) -> None:
    worked(session).save(tmp_path / "work.npz")
    again = ps.Session.load(tmp_path / "work.npz", session.case.image, GrowingProposer())
    assert state(again) == state(session)
    assert [s.verb for s in again.steps] == [s.verb for s in session.steps]
    while session.can_undo:
        session.undo()
        again.undo()
        assert state(again) == state(session)


def test_saving_keeps_spacing_channels_and_the_start(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((2, 6, 40, 40))
    case = ps.Case(image, spacing=(4, 0.5, 0.5), channel_axis=0).mark(np.broadcast_to(square(9, 9), (6, 40, 40)))
    ps.Session(case).save(tmp_path / "work.npz")
    again = ps.Session.load(tmp_path / "work.npz", image).case
    assert (again.spacing, again.channel_axis) == ((4.0, 0.5, 0.5), 0)
    assert np.array_equal(again.strokes, case.strokes)


def test_sizes_that_an_object_may_have_are_kept_where_it_is_saved_and_journalled(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((40, 40))
    session = ps.Session(ps.Case(image, sizes=(3.5, 7)))
    journal = session.keep(tmp_path / "work.journal")
    session.mark(square(9, 9))
    session.rebase(ps.Case(image))
    assert session.case.sizes == (3.5, 7)
    session.save(tmp_path / "work.npz")
    journal.close()
    for file in ("work.npz", "work.journal"):
        again = ps.Session.load(tmp_path / file, image)
        assert again.sizes() == (3.5, 7) and state(again) == state(session), file


def test_a_full_disk_leaves_the_old_file_whole(
    session: ps.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "work.npz"
    session.mark(square(10, 10))
    session.save(path)
    old = path.read_bytes()
    session.mark(square(20, 20))

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"work.npz could not be written \(No space left on device\)"):
        session.save(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["work.npz"]


def test_damaged_files_are_told(session: ps.Session, tmp_path: Path) -> None:
    path = tmp_path / "work.npz"
    with pytest.raises(FileNotFoundError, match="no session file"):
        ps.Session.load(path, session.case.image)
    worked(session).save(path)
    content = path.read_bytes()
    for damaged in (b"", b"no zip at all", content[: len(content) // 2], content[:100] + b"\0" * 200 + content[300:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or no session"):
            ps.Session.load(path, session.case.image)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"an image of \(40, 40\), this one is \(30, 40\)"):
        ps.Session.load(path, session.case.image[:30])


def test_the_script_does_it_again(session: ps.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    script = worked(session).script("cell.tif")
    assert "session.propose(n=4, seed=0, reach=0.5)" in script

    class Picture:
        data = session.case.image

    monkeypatch.setitem(vars(ps), "read", lambda path: Picture() if path == "cell.tif" else None)
    monkeypatch.setitem(vars(ps), "load_proposer", lambda name: GrowingProposer() if name == "growing" else None)
    names: dict[str, object] = {}
    exec(script, names)
    assert np.array_equal(names["objects"], session.objects)
    assert np.array_equal(names["partial"], session.case.partial)


def test_the_sizes_that_an_object_may_have_are_kept(session: ps.Session, tmp_path: Path) -> None:
    session = ps.Session(session.case.with_sizes([3.5, 7]), GrowingProposer())
    journal = session.keep(tmp_path / "work.journal")
    worked(session).save(tmp_path / "work.npz")
    journal.close()
    for path in (tmp_path / "work.npz", tmp_path / "work.journal"):
        again = ps.Session.load(path, session.case.image)
        assert again.start.sizes == (3.5, 7) and again.script() == session.script(), "answers go by them"


def test_the_script_runs_as_a_program(session: ps.Session, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cell.tif", session.case.image)
    script = worked(session).script(str(tmp_path / "cell.tif"))
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import napari_probseg as ps
from fakes import GrowingProposer
ps.load_proposer = lambda name: GrowingProposer()
{script}
np.savez({str(tmp_path / "result.npz")!r}, objects=objects, partial=partial)
assert "torch" not in sys.modules and "napari" not in sys.modules
"""
    (tmp_path / "program.py").write_text(program)
    subprocess.run([sys.executable, tmp_path / "program.py"], check=True, timeout=120)
    with np.load(tmp_path / "result.npz") as result:
        assert np.array_equal(result["objects"], session.objects)
        assert np.array_equal(result["partial"], session.case.partial)


@pytest.mark.parametrize("array", [square(3, 3), np.zeros((0, 4), bool), np.arange(12, dtype=np.uint32).reshape(3, 4)])
def test_packing_is_exact(array: np.ndarray) -> None:
    again = unpack(pack(array))
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


def test_a_damaged_stroke_is_told() -> None:
    with pytest.raises(ValueError, match="a packed stroke is damaged"):
        unpack(pack(square(3, 3))[:-4])


def test_numpys_numbers_can_be_saved(session: ps.Session, tmp_path: Path) -> None:
    session.mark(square(10, 10))
    session.propose(np.int64(4), seed=np.int32(3), reach=np.float32(0.5))
    session.accept(np.int64(1))
    session.finish()
    session.reopen(np.uint32(1))
    session.save(tmp_path / "work.npz")
    assert state(ps.Session.load(tmp_path / "work.npz", session.case.image)) == state(session)


def test_what_was_undone_can_be_done_again_after_loading(session: ps.Session, tmp_path: Path) -> None:
    worked(session)
    states = [state(session)]
    for _ in range(5):
        session.undo()
        states.append(state(session))
    session.save(tmp_path / "work.npz")
    again = ps.Session.load(tmp_path / "work.npz", session.case.image)
    for expected in states[-2::-1]:
        again.redo()
        assert state(again) == expected
    assert not again.can_redo


def test_a_session_belongs_to_its_image(session: ps.Session, tmp_path: Path) -> None:
    session.mark(square(10, 10))
    session.save(tmp_path / "work.npz")
    image = session.case.image
    other = image.copy()
    other[3, 7] += 1
    for wrong, says in ((other, "intensities"), (image.astype(np.float32), "float32 values, not float64")):
        with pytest.raises(OtherImageError, match=says):
            ps.Session.load(tmp_path / "work.npz", wrong)
        assert state(ps.Session.load(tmp_path / "work.npz", wrong, any_image=True)) == state(session)
    swapped = image.astype(image.dtype.newbyteorder())
    assert state(ps.Session.load(tmp_path / "work.npz", swapped)) == state(session), "the byte order is no matter"


def test_the_identity_of_a_large_image_reads_a_small_part_of_it() -> None:
    class Lazy:
        def __init__(self, data: np.ndarray) -> None:
            self.data, self.shape, self.dtype, self.n_read = data, data.shape, data.dtype, 0

        def __getitem__(self, where: object) -> np.ndarray:
            self.n_read += self.data[where].size
            return self.data[where]

    data = np.random.default_rng(0).integers(0, 200, (40, 256, 512), dtype=np.int16)
    lazy, one = Lazy(data), Identity.of(ps.Case(data))
    assert Identity.of(ps.Case(lazy)) == one and 0 < lazy.n_read < data.size / 100
    assert Identity.restored(json.loads(json.dumps(one.told()))) == one
    shifted = Identity.of(ps.Case(np.roll(data, 1, axis=0)))
    assert "intensities" in one.difference(shifted)
    assert "spacing is (2, 1, 1), not (1, 1, 1)" in one.difference(Identity.of(ps.Case(data, spacing=(2, 1, 1))))


def test_the_script_of_a_session_that_began_with_a_partial_segmentation(session: ps.Session) -> None:
    partial = square(10, 10, 3) * np.uint8(1) + square(30, 30, 2) * np.uint8(2)
    begun = ps.Case(session.case.image, partial=partial, strokes=square(10, 10) * np.uint8(1))
    session = ps.Session(begun, GrowingProposer())
    session.propose(4)
    session.accept(2)
    session.finish()
    session.mark(erase=square(10, 10, 4))
    session.mark(square(11, 11, 5))
    session.mark(erase=square(10, 10, 2))
    names = run_script(session)
    assert np.array_equal(names["objects"], session.objects)
    assert np.array_equal(names["partial"], session.case.partial)
    assert np.array_equal(names["session"].case.strokes, session.case.strokes)


def run_script(session: ps.Session) -> dict[str, object]:
    class Picture:
        data = session.case.image

    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(vars(ps), "read", lambda _: Picture())
        patched.setitem(vars(ps), "load_proposer", lambda _: GrowingProposer())
        exec(session.script(), names)
    return names


def test_scattered_marks_cost_what_is_marked_in_history_file_and_copies(tmp_path: Path) -> None:
    shape = (40, 256, 256)
    session = ps.Session(ps.Case(np.zeros(shape, np.uint8)), GrowingProposer())
    journal = session.keep(tmp_path / "work.journal")
    corners = np.zeros(shape, dtype=bool)
    corners[0, :5, :5] = corners[-1, -5:, -5:] = corners[20, :5, -5:] = True
    step = session.mark(corners)
    assert sum(change.after.size for change in step.changes) <= 2 * 3 * 25
    assert journal.flush(10) and journal.path.stat().st_size < 2000
    assert session.case.pages.sum() <= 6, "of the pages of the image, those that were drawn on"
    session.mark(outside=square(2, 2, shape=(1, 256, 256)), where=np.s_[5:6, :, :])
    assert np.array_equal(session.case.strokes == 1, corners)
    finished = session.finish()
    assert sum(change.after.size for change in finished.changes if change.name == "objects") <= 3 * 25
    assert np.array_equal(session.objects > 0, corners)
    for expected in (0, 1, 0):
        session.undo()
        assert bool(session.objects.any()) is False or expected
    assert not session.case.partial.any() and not session.case.strokes.any()
    for _ in range(3):
        session.redo()
    again = ps.Session.load(journal.path, session.case.image) if journal.flush(10) else None
    assert state(again) == state(session)
    assert again.case.pages.sum() <= session.case.pages.sum()


def test_scattered_objects_are_taken_by_a_script_as_in_the_session(tmp_path: Path) -> None:
    labels = np.zeros((3, 200, 200), dtype=int)
    labels[0, :4, :4], labels[2, -4:, -4:] = 1, 7
    session = ps.Session(ps.Case(np.zeros(labels.shape, np.uint8)))
    step = session.take(labels)
    assert len([change for change in step.changes if change.name == "objects"]) == 2, "test invalid"
    ps.write(tmp_path / "image.tif", session.case.image)
    told: dict[str, object] = {}
    exec(session.script(str(tmp_path / "image.tif")), told)
    assert np.array_equal(told["objects"], session.objects)

"""Endings of file names: a name without one gets one, another one is refused with those that work."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_probseg as ps
from napari_probseg.io.endings import known_ending, with_ending
from sessions import square

ENDINGS = (".nii.gz", ".nii", ".tif")


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("a", "a.tif"),
        ("a.", "a.tif"),
        ("mouse_0.5um", "mouse_0.5um.tif"),
        ("a.czi_objects", "a.czi_objects.tif"),
        ("a.NII.GZ", "a.NII.GZ"),
        ("a.nii", "a.nii"),
    ],
)
def test_a_name_gets_an_ending_where_it_has_none(typed: str, named: str) -> None:
    assert with_ending(Path("folder") / typed, ENDINGS, default=".tif") == Path("folder") / named
    assert known_ending(Path(named), ENDINGS) in ENDINGS


@pytest.mark.parametrize("typed", ["a.nrrd", "a.h5", "a.gz", "a.JPG"])
def test_another_ending_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match=r"has an ending that is not known here: use one of \.nii\.gz, \.nii, \.tif$"):
        with_ending(Path(typed), ENDINGS, default=".tif")
    with pytest.raises(ValueError, match=r"use \.npz$"):
        with_ending(Path(typed), [".npz"], default=".npz")


def test_a_session_is_not_saved_over_an_image(tmp_path: Path) -> None:
    path = tmp_path / "cell.TIF"
    ps.write(path, square(5, 5).astype("uint8"))
    before = path.read_bytes()
    session = ps.Session(ps.Case(ps.read(path).data))
    with pytest.raises(ValueError, match=r"cell\.TIF is the name of an image: save the session as \.npz"):
        session.save(path)
    assert path.read_bytes() == before

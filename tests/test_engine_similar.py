"""More like this in the engine: what is found comes with pictures, and the examples of a data set are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_probseg as ps
from napari_probseg.engine.models import Resources
from napari_probseg.engine.similar import FindSimilar, picture_of
from napari_probseg.progress import result_of
from napari_probseg.similar.examples import EXAMPLES_FILE
from napari_probseg.similar.offer import SimilarObject
from test_similar import NO_NETWORK, disks


def asked(seed: int, *, memory: Path | None = None, is_first: bool = True) -> FindSimilar:
    image, labels = disks(seed=seed)
    session = ps.Session(ps.Case(image))
    if is_first:
        session.take(np.where(labels == 6, 1, 0))
    return FindSimilar(session.query_similar(), 30, NO_NETWORK, (0, 1), "cpu", memory)


def test_each_object_has_a_picture_of_its_surroundings() -> None:
    found, pictures = result_of(asked(0).answer(Resources()))
    assert len(found) == len(pictures) > 10
    for o, picture in zip(found.objects, pictures, strict=True):
        assert all(s.start - 10 <= p < s.stop + 10 for p, s in zip(picture.place, o.where, strict=True))
        assert picture.n_object == np.count_nonzero(o.mask)


@pytest.mark.parametrize("axis", [0, 2])
def test_it_is_in_colours_where_the_image_is(axis: int) -> None:
    image = np.random.default_rng(0).random((40, 50, 3))
    where, mask = (slice(18, 22), slice(20, 26)), np.ones((4, 6), bool)
    case = ps.Case(np.moveaxis(image, 2, axis), channel_axis=axis)
    found = SimilarObject(where, mask, (), 1.0)
    picture = picture_of(case, found, (0, 1)).panes[0].picture
    assert (np.ptp(picture[:2].astype(int), axis=-1) < 3).all() == (axis == 0)


def test_the_examples_of_a_data_set_are_kept(tmp_path: Path) -> None:
    file = tmp_path / EXAMPLES_FILE
    result_of(asked(0, memory=file).answer(Resources()))
    assert file.is_file()
    found, _ = result_of(asked(1, memory=file, is_first=False).answer(Resources()))  # another day
    assert len(found.above()) > 8 and found.like == 0
    file.write_bytes(b"damaged")
    result_of(asked(2, memory=file).answer(Resources()))  # is made anew
    assert len(result_of(asked(1, memory=file, is_first=False).answer(Resources()))[0]) > 8

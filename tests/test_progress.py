"""Long work: what it returns, and the lines on many images."""

from collections.abc import Iterator

import pytest

from napari_probseg.progress import Fate, Outcome, report_of, result_of


def work() -> Iterator[int]:
    yield 1
    yield 2
    return "done"


def test_the_result_of_a_work_and_its_progress() -> None:
    heard: list[int] = []
    assert result_of(work()) == result_of(work(), heard.append) == "done"
    assert heard == [1, 2]


def test_an_error_comes_through() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        result_of(fails())


def test_a_bad_image_is_named_and_the_rest_goes_on() -> None:
    outcomes = [Outcome("a", Fate.DONE), Outcome("b", Fate.FAILED, "it is empty"), Outcome("c", Fate.THERE)]
    lines = report_of(outcomes, 3)
    assert [next(lines) for _ in outcomes] == ["1/3 a: done", "2/3 b: failed, it is empty", "3/3 c: there already"]
    with pytest.raises(RuntimeError, match="1 done, 1 there already, 1 failed: mend what is named above"):
        next(lines)
    assert list(report_of([], 0)) == ["there is nothing to do"]

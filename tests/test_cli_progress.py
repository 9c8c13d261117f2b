"""Long work shows how far it is: as a bar on a terminal, as few plain lines in a file."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Generator

import pytest
from rich.console import Console

from napari_probseg.cli.progress import Line, line_of, show_training, shown
from napari_probseg.progress import Progress


def training(n: int = 1000) -> Generator[str | Progress, None, str]:
    yield "looking at images: 0 %"
    yield "looking at images: 0 %"
    for step in range(1, n + 1):
        yield Progress(step, n, {"total": 1 / step}, 1.0, 0.25, {"score": 0.5} if step == 333 else {})
    return "all of it"


def written(*, terminal: bool) -> tuple[str, str]:
    file = io.StringIO()
    found = shown(training(), console=Console(file=file, force_terminal=terminal, width=80))
    return found, file.getvalue()


def test_where_the_output_goes_elsewhere_there_are_a_few_plain_lines() -> None:
    found, text = written(terminal=False)
    assert found == "all of it"
    lines = text.splitlines()
    assert "\r" not in text and "\x1b" not in text
    assert lines[0] == "looking at images: 0 %" and lines[1].startswith("1/1000  total 1.000")
    assert "333/1000  total 0.003  score 0.500" in lines, "a score is told whenever there is one"
    assert lines[-1] == "1000/1000  total 0.001"
    assert len(lines) == 13


def test_on_a_terminal_there_is_a_bar_and_what_is_to_stay_stays() -> None:
    found, text = written(terminal=True)
    assert found == "all of it"
    assert "\x1b" in text and "━" in text and "1000/1000" in text
    assert "333/1000  total 0.003  score 0.500" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_brackets_are_not_taken_for_markup(terminal: bool) -> None:
    def work() -> Generator[str, None, None]:
        yield "reading [/images/a[0].tif]"

    file = io.StringIO()
    shown(work(), console=Console(file=file, force_terminal=terminal, width=200))
    assert "reading [/images/a[0].tif]" in file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_ends_the_display_and_is_raised(terminal: bool) -> None:
    def work() -> Generator[str, None, None]:
        yield "begun"
        raise ValueError("the disk is full")

    file = io.StringIO()
    with pytest.raises(ValueError, match="the disk is full"):
        shown(work(), console=Console(file=file, force_terminal=terminal))
    assert file.getvalue().removesuffix("\x1b[?25h").endswith("\n"), "the cursor is shown again, on a new line"


def test_lines() -> None:
    assert str(line_of("begun")) == "begun"
    assert str(line_of(Progress(2, 8, {"total": 0.5}))) == "2/8  total 0.500"
    assert str(Line("image.tif", 1, 3)) == "1/3  image.tif"


def test_nothing_of_it_is_on_the_output_that_is_piped(capfd: pytest.CaptureFixture[str]) -> None:
    show_training(training(20))
    out, err = capfd.readouterr()
    assert out == "" and "20/20" in err and err.endswith("25.0% of the time went into data\n")


def test_the_command_line_is_light() -> None:
    code = "import sys, napari_probseg.cli.main; print([m for m in ('torch', 'napari', 'qtpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

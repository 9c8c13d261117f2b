"""The code of the README runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

import napari_probseg as ps

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_code_runs(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done: dict[str, Any] = {}
    exec(program, done)
    assert done["session"].objects.max() == 1
    assert (ps.read("objects.tif").data == done["session"].objects).all()


def test_there_is_code() -> None:
    assert PROGRAMS

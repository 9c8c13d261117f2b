"""The screenshots of the documentation can be made anew."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("napari")

from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"


def test_the_first_steps_are_photographed(tmp_path):
    made = subprocess.run(
        [sys.executable, DOCS / "pictures.py", "start", "--into", tmp_path], capture_output=True, text=True, timeout=600
    )
    assert made.returncode == 0, made.stderr
    shown = set(re.findall(r"start-\w+\.webp", (DOCS / "start.md").read_text(encoding="utf-8")))
    assert {path.name for path in tmp_path.iterdir()} == shown == {path.name for path in DOCS.glob("img/start-*")}
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.size[0] >= 1000


def test_every_picture_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert [path.name for path in DOCS.glob("img/*") if path.name not in text] == []

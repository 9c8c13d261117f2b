"""The code is built as the import contracts say, and no files import each other in a circle, not even for types."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    graph = grimp.build_graph("napari_probseg", cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def on_a_circle(imports: dict[str, set[str]]) -> set[str]:
    """Return the modules that import themselves by way of others: those left when the ends are taken away."""
    left = {module: set(imported) & imports.keys() for module, imported in imports.items()}
    while ends := [m for m in left if not left[m] or not any(m in others for others in left.values())]:
        left = {m: imported - set(ends) for m, imported in left.items() if m not in ends}
    return set(left)


def test_no_files_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert on_a_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}, "test invalid"
    assert len(imports) > 100
    assert not on_a_circle(imports)


def test_every_room_has_a_layer(imports: dict[str, set[str]]) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract for contract in contracts if contract["type"] == "layers")
    assert layers["exhaustive"]
    named = {room.strip() for layer in layers["layers"] for room in layer.split("|")}
    assert named == {module.split(".")[1] for module in imports if "." in module}


def test_only_rooms_that_may_know_a_window_are_outside_of_that_contract(imports: dict[str, set[str]]) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (headless,) = (contract for contract in contracts if "qtpy" in contract.get("forbidden_modules", ()))
    rooms = {module.split(".")[1] for module in imports if "." in module}
    assert rooms - {name.split(".")[1] for name in headless["source_modules"]} == {"cli", "widgets"}


def test_inference_imports_no_trainer(imports: dict[str, set[str]]) -> None:
    wrong = {
        module: imported
        for module, imported in imports.items()
        if module.startswith("napari_probseg.inference") and any(".training" in name for name in imported)
    }
    assert not wrong

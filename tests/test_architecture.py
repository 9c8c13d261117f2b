"""The code is built as the import contracts say, without circles, in short files and functions."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp")
ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "benchmarks", "docs", "examples")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
LONG_FUNCTIONS = {"panel.py:Panel.__init__"}  # a widget's parts, one after the other, each with its tip


def functions(tree: ast.AST, name: str) -> Iterator[tuple[str, int]]:
    """Yield the functions of a module, also those within others and in classes, and how many lines they have."""
    for node in ast.iter_child_nodes(tree):
        inner = f"{name}{node.name}" if isinstance(node, ast.FunctionDef | ast.ClassDef) else name
        if isinstance(node, ast.FunctionDef):
            yield inner, (node.end_lineno or node.lineno) - node.lineno + 1
        yield from functions(node, f"{inner}." if inner != name else name)


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


def test_the_page_on_the_architecture_names_every_room_and_imports_go_up_its_table(
    imports: dict[str, set[str]],
) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| (`.*?) \|", page.partition("## Rules")[0], re.M)]
    place = {room: i for i, row in enumerate(rows) for room in row}
    room_of = {module: module.split(".")[1] for module in imports if "." in module}
    assert set(room_of.values()) == place.keys() - {"weights"}
    assert not [
        (module, other)
        for module, room in room_of.items()
        for other in imports[module] & room_of.keys()
        if place[room_of[other]] > place[room]
    ]


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


def test_files_and_functions_are_short() -> None:
    code = "class A:\n    def f(self):\n        def g():\n            pass\n        return g\n"
    assert list(functions(ast.parse(code), "a.py:")) == [("a.py:A.f", 4), ("a.py:A.f.g", 2)], "test invalid"
    sources = {path: path.read_text() for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}
    assert len(sources) > 300
    assert not [path.name for path, text in sources.items() if len(text.splitlines()) > MAX_FILE_LINES]
    lengths = {k: n for path, text in sources.items() for k, n in functions(ast.parse(text), f"{path.name}:")}
    assert {name for name, n in lengths.items() if n > MAX_FUNCTION_LINES} <= LONG_FUNCTIONS

"""What is public says of each argument what it is, what comes back where that has a shape or a unit, and what is raised."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import napari_probseg as ps

NAMES_ENOUGH = r"Case|Candidates|Step|Request|Proposer|Session|Journal|Stored|bool|str|None|Self"


def members(name: str, value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the functions, classes and methods of something public, also those that it inherits."""
    if isinstance(value, ModuleType):
        for inner in getattr(value, "__all__", [n for n, v in vars(value).items() if _is_own(value, n, v)]):
            yield from members(f"{name}.{inner}", getattr(value, inner))
    elif inspect.isclass(value):
        yield name, value
        for inner, method in inspect.getmembers(value, callable):
            if not inner.startswith("_") and getattr(method, "__module__", "").startswith("napari_probseg"):
                yield f"{name}.{inner}", method
    elif callable(value):
        yield name, value


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    return not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module.__name__


def lacks(function: Callable[..., Any]) -> list[str]:
    """Return what the docstring of a function or class leaves out."""
    text = inspect.getdoc(function) or ""
    if not text:
        return ["everything"]
    sections = dict(re.findall(r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.M | re.S))
    named = re.findall(r"^(\S.*?)(?: : .*)?$", sections.get("Parameters", ""), re.M)
    known = {name.strip("* ") for names in named for name in names.split(",")}
    signature = inspect.signature(function)
    missing = [name for name in signature.parameters if name not in ("self", "cls") and name not in known]
    if inspect.isclass(function):
        return missing
    kind = str(signature.return_annotation)
    if not re.fullmatch(rf"(\W*({NAMES_ENOUGH})\W*)*", kind) and not {"Returns", "Yields"} & sections.keys():
        missing.append(f"Returns {kind}")
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = {
        ast.unparse(n.exc.func) for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call)
    }
    return missing + [
        f"Raises {name}" for name in raised if name.endswith("Error") and name not in sections.get("Raises", "")
    ]


PUBLIC = dict(pair for name in ps.__all__ if name != "__version__" for pair in members(name, getattr(ps, name)))


def test_an_omission_is_found() -> None:
    def short(image: int, spacing: float) -> float:
        """Return something.

        Parameters
        ----------
        image : int
        """
        raise ValueError(image, spacing)

    assert lacks(short) == ["spacing", "Returns float", "Raises ValueError"]
    assert {"Case.mark", "Session.take_similar", "graph_cut.Cutter.cut", "metrics.dice", "read"} <= PUBLIC.keys()


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"Marker", "Proposer"}))
def test_what_is_public_is_described(name: str) -> None:
    assert lacks(PUBLIC[name]) == []

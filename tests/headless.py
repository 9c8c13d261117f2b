"""A pytest plugin that makes napari and Qt impossible to import: ``pytest -p headless``."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

REFUSED = ("napari", "qtpy", "magicgui", "superqt", "PyQt5", "PyQt6", "PySide6")


class _Refuser(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r} (headless)", name=name)
        return None


def pytest_configure() -> None:
    already = [name for name in REFUSED if name in sys.modules]
    assert not already, f"imported before the tests began: {already}"
    sys.meta_path.insert(0, _Refuser())

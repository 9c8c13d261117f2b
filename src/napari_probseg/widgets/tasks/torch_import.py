"""Import of torch in a thread without stopping the window."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import torch inside, in a thread, and the window keeps moving.

    Two things would hold Python's lock for 0.2 to 0.5 s: linking torch's libraries, which are loaded beforehand, and
    the garbage collector, which the many new objects call to look through all of napari's. It waits, and the new
    objects, which stay for good, are put with the old ones unseen: this is what freeze and unfreeze do.
    """
    _load_libraries()
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.freeze()
            gc.unfreeze()
            gc.enable()


def _load_libraries() -> None:
    """Load torch's shared libraries through ctypes, which lets the lock go, unlike ``import``.

    Where a library has another name nothing happens, and the import does it all.
    """
    spec = find_spec("torch")
    suffix = {"linux": "so", "darwin": "dylib"}.get(sys.platform)
    if "torch" in sys.modules or spec is None or spec.origin is None or suffix is None:
        return
    folder = Path(spec.origin).parent / "lib"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    # The order and the flags are those of torch/__init__.py.
    for name, flags in (("libtorch_global_deps", os.RTLD_GLOBAL), ("libtorch_python", os.RTLD_LOCAL)):
        path = folder / f"{name}.{suffix}"
        if path.is_file():
            dlopen(os.fsencode(path), os.RTLD_NOW | flags)

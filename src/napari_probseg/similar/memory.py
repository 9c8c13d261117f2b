"""Memory of examples: what objects of other images look like, as features without pixels, in one ``.npz`` file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from napari_probseg.io.atomic import write_whole
from napari_probseg.similar.examples import Example, Form
from napari_probseg.similar.features import FEATURES_VERSION
from napari_probseg.similar.finder import MAX_EXAMPLES

FORMAT = "napari-probseg examples"
MAX_KEPT = 4 * MAX_EXAMPLES  # the latest ones
_BROKEN = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, zipfile.BadZipFile)


def fingerprint(networks: Mapping[int, Any]) -> str:
    """Return a hash of the weights that features come from: those of another network are not compared."""
    digest = blake2b(digest_size=16)
    encoder = getattr(networks.get(2), "encoder", None)
    for tensor in encoder.state_dict().values() if encoder is not None else ():
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def save_examples(path: str | Path, examples: Sequence[Example], networks: Mapping[int, Any]) -> None:
    """Write examples to a file, the latest ones; the old file stays whole until the end."""
    kept = list(examples)[-MAX_KEPT:]
    about = {
        "format": FORMAT,
        "version": FEATURES_VERSION,
        "weights": fingerprint(networks),
        "examples": [{"form": asdict(e.form), "ndim": e.ndim, "image": e.image} for e in kept],
    }
    arrays = {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}
    for i, e in enumerate(kept):
        arrays |= {f"inside{i}": e.inside.astype(np.float16), f"outside{i}": e.outside.astype(np.float16)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def load_examples(path: str | Path, networks: Mapping[int, Any]) -> list[Example]:
    """Return the examples of a file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged, or was made by another release or with other weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of examples {path}")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["format"] != FORMAT:
                raise ValueError("it is of another format")
            made_by = about["version"], about["weights"]
            found = [_example(told, file, i) for i, told in enumerate(about["examples"])]
    except _BROKEN as error:
        raise ValueError(f"{path} is damaged or holds no examples of napari-probseg: remove it") from error
    if made_by != (FEATURES_VERSION, fingerprint(networks)):
        raise ValueError(f"{path} was made with other weights or another release: remove it, and finish objects anew")
    return found


def joined(earlier: Sequence[Example], new: Sequence[Example]) -> list[Example]:
    """Return examples, the new ones last; they take the place of the same ones, and of all that their images gave."""
    forms, images = {e.form for e in new}, {e.image for e in new} - {""}
    return [*(e for e in earlier if e.form not in forms and e.image not in images), *new]


def _example(told: Mapping[str, Any], file: Any, i: int) -> Example:
    inside, outside = (np.asarray(file[f"{side}{i}"], dtype=np.float32) for side in ("inside", "outside"))
    form = {name: value for name, value in told["form"].items() if name != "intensity"}
    if inside.ndim != 2 or outside.ndim != 2 or inside.shape[1] != outside.shape[1] or not len(inside):
        raise ValueError("features of an example have another shape")
    if not (np.isfinite(inside).all() and np.isfinite(outside).all() and float(form["diameter"]) > 0):
        raise ValueError("features of an example are no numbers")
    intensity = tuple(float(v) for v in told["form"]["intensity"])
    numbers = {name: float(value) for name, value in form.items()}
    return Example(inside, outside, Form(**numbers, intensity=intensity), int(told["ndim"]), str(told.get("image", "")))

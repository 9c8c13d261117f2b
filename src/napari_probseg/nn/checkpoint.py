"""Checkpoints: weights as safetensors with the configuration of the network in the header, never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from napari_probseg.io.atomic import write_whole
from napari_probseg.io.paths import reading_failure, refuse_no_file

FORMAT = "napari-probseg weights"
VERSION = 1


def write_weights(
    path: str | Path, tensors: Mapping[str, Tensor], *, preset: str, config: Mapping[str, Any], half: bool = False
) -> None:
    """Write tensors and what is needed to build their network; the old file stays whole until the end.

    Parameters
    ----------
    path : path
        The file, ``.safetensors``.
    tensors : mapping of str to Tensor
        A network's ``state_dict()``.
    preset : str
        The network's name, a key of `napari_probseg.nn.presets.PRESETS`.
    config : mapping
        The values of the preset's configuration; JSON must be able to hold them.
    half : bool
        Write floats in half precision, for half of the size; a network that loads them reckons in single precision.
    """
    header = {"format": FORMAT, "version": str(VERSION), "preset": preset, "config": json.dumps(dict(config))}
    kept = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    if half:
        kept = {name: t.half() if t.is_floating_point() else t for name, t in kept.items()}
    write_whole(path, save(kept, metadata=header))


def read_weights(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Return the preset's name, its configuration and the tensors of a weights file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is of another kind, or of a version that this release cannot read, or a weight is no
        finite number.
    """
    path = Path(path)
    refuse_no_file(path, "weights file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, RuntimeError, LookupError) as error:
        if (cause := reading_failure(path, error)) is not None:
            raise cause from error
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or no safetensors file ({reason}): get the file anew") from error
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} holds no weights of napari-probseg: choose a file that it wrote")
    if header.get("version") != str(VERSION):
        raise ValueError(
            f"{path} has weights of version {header.get('version')}, this release reads version {VERSION}: "
            f"install the release that wrote them, or train anew"
        )
    if broken := next((n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()), ""):
        raise ValueError(f"{path} has weights that are no finite numbers ({broken}): get the file anew, or train anew")
    try:
        config = json.loads(header["config"])
        if not isinstance(config, dict):
            raise ValueError("its configuration is no mapping")
        return header["preset"], config, tensors
    except (ValueError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged (what it says of its network: {error!r:.100}): get the file anew"
        ) from error

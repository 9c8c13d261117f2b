"""Presets: networks by name, as weights files name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_probseg.nn.advised import AdvisedConfig, AdvisedCVAE
from napari_probseg.nn.checkpoint import read_weights
from napari_probseg.nn.general import GeneralConfig, GeneralCVAE
from napari_probseg.nn.unet import UNETS, UNet, UNetConfig
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.nn.wong2022 import Wong2022

General = AdvisedCVAE | GeneralCVAE  # what proposes and completes, for images and for volumes


def build(preset: str, config: Mapping[str, Any]) -> General | Wong2022 | UNet:
    """Return the untrained network of a preset.

    Raises
    ------
    ValueError
        If the preset or an entry of its configuration is unknown.
    """
    try:
        if preset == "advised":
            return AdvisedCVAE(AdvisedConfig(**_with_tuples(config)))
        if preset == "general":
            return GeneralCVAE(GeneralConfig(**_with_tuples(config)))
        if preset == "refined3d":
            return VolumeCVAE(GeneralConfig(**_with_tuples(config)))
        if preset == "wong2022":
            return Wong2022(**config)
        if preset in UNETS:
            # Release 0.1.0 also wrote a stem, of 1.
            return UNet(UNetConfig(**{name: value for name, value in config.items() if (name, value) != ("stem", 1)}))
    except TypeError as error:
        raise ValueError(f"the configuration {dict(config)} does not fit the network {preset!r}: {error}") from error
    known = ", ".join(["advised", "general", "refined3d", "wong2022", *UNETS])
    raise ValueError(f"there is no network {preset!r}: this release knows {known}")


def load_network(path: str | Path) -> General | Wong2022 | UNet:
    """Return the network of a weights file, ready to predict.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is damaged, or does not fit the network that it names.
    MemoryError
        If the network does not fit into memory.
    """
    preset, config, tensors = read_weights(path)
    try:
        network = build(preset, config)
        network.load_state_dict(tensors)
    except ValueError as error:
        raise ValueError(f"the weights in {path} cannot be used: {error}") from error
    except (RuntimeError, ArithmeticError, AttributeError, LookupError, TypeError, AssertionError) as error:
        raise ValueError(f"the weights in {path} do not fit the network {preset!r}: get the file anew") from error
    except MemoryError as error:
        raise MemoryError(
            f"the network of the weights in {path} does not fit into memory: get the file anew"
        ) from error
    return network.eval()


def _with_tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as it was before JSON made lists of its tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}

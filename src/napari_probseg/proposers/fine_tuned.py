"""What was fine-tuned to an image as the bytes of a safetensors file, and back: the tensors that training changed.

The file names, by a fingerprint, the weights that it was fine-tuned from; they are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from copy import copy, deepcopy
from hashlib import blake2b
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from napari_probseg.proposers.unet_cut import UNetCut

FORMAT = "napari-probseg fine-tuned"
VERSION = 1
_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    safetensors.SafetensorError,
)


def packed(completer: Any) -> bytes:
    """Return what fine-tuning changed of a completer, to be read by `unpacked`; nothing if it has no network.

    Returns
    -------
    bytes
        Of a safetensors file: tensors named ``2.…`` and ``3.…`` after the number of axes.
    """
    if not isinstance(completer, UNetCut):
        return b""
    header, tensors = {"format": FORMAT, "version": str(VERSION), "name": completer.name}, {}
    for ndim, network in completer.networks.items():
        before = completer.untuned[ndim]
        if network is before:
            continue
        header[f"from{ndim}"] = fingerprint(before)
        old = before.state_dict()
        for name, tensor in network.state_dict().items():
            if not torch.equal(tensor.cpu(), old[name].cpu()):
                tensors[f"{ndim}.{name}"] = tensor.detach().cpu().contiguous()
    return safetensors.torch.save(tensors, metadata=header)


def unpacked(content: bytes, bases: Iterable[UNetCut]) -> UNetCut:
    """Return the completer that was `packed`, made from the first of some completers that it was fine-tuned from.

    Raises
    ------
    ValueError
        If it was fine-tuned from none of them, or is damaged.
    """
    try:
        header, tensors = _header_of(content), safetensors.torch.load(content)
        told = {int(key.removeprefix("from")): value for key, value in header.items() if key.startswith("from")}
        if header["format"] != FORMAT or header["version"] != str(VERSION) or not told:
            raise ValueError(f"it is of another version than {VERSION}")
        for base in bases:
            if all(ndim in base.untuned and fingerprint(base.untuned[ndim]) == value for ndim, value in told.items()):
                return _tuned(base, {ndim: _of(ndim, tensors) for ndim in told})
    except _FAILURES as error:
        raise ValueError(f"what was fine-tuned cannot be read ({error!r:.100}): fine-tune again") from error
    raise ValueError("what was fine-tuned belongs to other weights than those at hand: fine-tune again")


def fingerprint(network: nn.Module) -> str:
    """Return a hash of a network's weights."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tuned(base: UNetCut, changed: dict[int, dict[str, Tensor]]) -> UNetCut:
    tuned = copy(base)
    tuned.networks = dict(base.untuned)
    for ndim, tensors in changed.items():
        network = deepcopy(base.untuned[ndim])
        unknown = network.load_state_dict(tensors, strict=False).unexpected_keys
        if unknown:
            raise ValueError(f"the network has no {unknown[0]}")
        tuned.networks[ndim] = network.requires_grad_(False).eval()
    return tuned


def _of(ndim: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{ndim}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _header_of(content: bytes) -> dict[str, str]:
    """Return what a safetensors file tells of itself: its first 8 bytes are the length of the JSON that follows."""
    about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {str(key): str(value) for key, value in about["__metadata__"].items()}

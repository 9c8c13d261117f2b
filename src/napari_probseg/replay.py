"""CUDA graphs: a fixed sequence of small kernels is recorded once and then replayed, which spares their launches."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

N_CALLS_BEFORE = 2  # with tensors of the same shapes, after which a function is recorded
MAX_RECORDINGS = 12  # of one function; the one that has lain idle for longest goes first


def replayed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a function of tensors be replayed on CUDA; on other devices it is called as it is.

    Its tensors come first, in their places; what follows must be hashable. What it does may depend on the tensors'
    shapes, but not on their values, and it takes no gradients.
    """
    n_calls: Counter[Hashable] = Counter()
    recordings: OrderedDict[Hashable, _Recording] = OrderedDict()

    @wraps(function)
    def call(*args: Any) -> Tensor:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not all(t.is_cuda for t in tensors) or torch.cuda.is_current_stream_capturing():
            return function(*args)
        options = args[len(tensors) :]
        key = (*((t.shape, t.dtype, t.device) for t in tensors), *options)
        if key in recordings:
            recordings.move_to_end(key)
            return recordings[key](tensors)
        n_calls[key] += 1
        if n_calls[key] <= N_CALLS_BEFORE:
            return function(*args)
        recordings[key] = _Recording(function, tensors, options)
        if len(recordings) > MAX_RECORDINGS:
            recordings.popitem(last=False)
        return recordings[key](tensors)

    return call


class _Recording:
    """What a function does with tensors of some shapes."""

    def __init__(self, function: Callable[..., Tensor], tensors: list[Tensor], options: tuple[Any, ...]) -> None:
        self._inputs = [t.detach().clone(memory_format=torch.contiguous_format) for t in tensors]
        self._graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.device(tensors[0].device), torch.cuda.graph(self._graph):
            self._output = function(*self._inputs, *options)

    def __call__(self, tensors: list[Tensor]) -> Tensor:
        for own, new in zip(self._inputs, tensors, strict=True):
            own.copy_(new)
        self._graph.replay()
        return self._output.clone()

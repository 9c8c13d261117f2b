"""Models by name, and what is kept between requests: fine-tuned completers, and the latest completion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Event, Lock
from typing import Any, cast

from napari_probseg.candidates import Candidates
from napari_probseg.case import Case, Plane

GENERAL = "general"  # the shipped network
MAX_KEPT_TUNED = 4  # completers that are fine-tuned to an image, each with a network of its own


@dataclass(frozen=True)
class Model:
    """A model by its name: a plain value that travels, loaded where it is asked.

    Parameters
    ----------
    name : str
        What `load_proposer` and `load_completer` call it: shipped weights, or the path of a weights file.
    tuned : bytes
        Of a completer that was fine-tuned to an image: the weights that this changed.
    key : str
        A hash of them.
    """

    name: str = GENERAL
    tuned: bytes = field(default=b"", repr=False, compare=False)
    key: str = ""

    @classmethod
    def learnt(cls, name: str, tuned: bytes) -> Model:
        """Return the model of that name, fine-tuned."""
        return cls(name, tuned, blake2b(tuned, digest_size=16).hexdigest())

    @property
    def proposer(self) -> Model:
        """What proposes by the same weights."""
        return self

    def propose(
        self, case: Case, n: int = 8, *, seed: int = 0, plane: Plane | None = None, **options: Any
    ) -> Candidates:
        """Propose in this process, for scripts: see `load_proposer`."""
        found = Resources().proposer(self, "auto").propose(case, n, seed=seed, plane=plane, **options)
        return cast("Candidates", found)


class Resources:
    """What one process keeps between requests, beside the networks, which the registry of proposers loads once.

    Models are given as `Model`; or as proposers and completers at hand, which are returned as they are.
    """

    def __init__(self) -> None:
        self._loading = Lock()
        self.stop = Event()  # set when a request is to come to an end where that suits it
        self.is_loading = False  # what is half imported or half loaded must not be interrupted
        self._tuned: OrderedDict[tuple[Model, str], Any] = OrderedDict()  # the latest one asked for last
        self.examples: list[Any] = []  # of objects of the images that were worked on, the latest last
        self._finder: tuple[Any, Any] | None = None  # the latest one: it keeps what it has seen of an image
        self._seen: tuple[Any, Any] | None = None  # the latest completion: a graph in 3-D is large

    def proposer(self, model: Any, device: str) -> Any:
        """Return a proposer, with the weights that were fine-tuned if the model says so."""
        if not isinstance(model, Model):
            return model
        if model.tuned:
            return self.completer(model, device).proposer
        return self._alone(lambda: _load_proposer(model.name, device))

    def completer(self, model: Any, device: str) -> Any:
        """Return a completer, with the weights that were fine-tuned if the model says so."""
        if not isinstance(model, Model):
            return model
        if not model.tuned:
            return self._alone(lambda: _load_completer(model.name, device))
        if (model, device) not in self._tuned:
            plain = self.completer(Model(model.name), device)
            self.keep(model, self._alone(lambda: _with_weights(plain, model)), device)
        self._tuned.move_to_end((model, device))
        return self._tuned[model, device]

    def completion(self, key: Any, look: Any) -> Any:
        """Return the completion of a case, looked at once: it is cut anew as often as asked."""
        if self._seen is None or self._seen[0] != key:
            self._seen = None
            self._seen = key, look()
        return self._seen[1]

    def finder(self, completer: Any) -> Any:
        """Return the finder of objects alike that asks a completer's networks, the same one as long as it is asked."""
        from napari_probseg.similar.finder import finder_of

        if self._finder is None or self._finder[0] is not completer:
            self._finder = completer, finder_of(completer)
        return self._finder[1]

    def keep(self, model: Model, completer: Any, device: str) -> None:
        """Keep a completer that was just fine-tuned, so that it need not be loaded; but the latest ones alone."""
        self._tuned[model, device] = completer
        while len(self._tuned) > MAX_KEPT_TUNED:
            self._tuned.popitem(last=False)

    def _alone(self, load: Callable[[], Any]) -> Any:
        with self._loading:
            self.is_loading = True
            try:
                return load()
            finally:
                self.is_loading = False


def _load_proposer(name: str, device: str) -> Any:
    from napari_probseg.proposers import load_proposer

    return load_proposer(name, device=device)


def _load_completer(name: str, device: str) -> Any:
    from napari_probseg.proposers import load_completer

    return load_completer(name, device=device)


def _with_weights(completer: Any, model: Model) -> Any:
    from napari_probseg.proposers.fine_tuned import unpacked

    return unpacked(model.tuned, [completer])

"""Completing in a thread: loading the completer, looking at the image, cutting again as a slider moves."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_probseg.candidates import Candidates
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.plane import in_volume
from napari_probseg.session.request import Offer, Request
from napari_probseg.widgets.tasks.propose import Answer, exhibit
from napari_probseg.widgets.tasks.torch_import import quiet_import

if TYPE_CHECKING:
    from napari_probseg.proposers.histogram_cut import GraphCut
    from napari_probseg.proposers.trained_unet import TrainedUNet
    from napari_probseg.proposers.unet_cut import UNetCut


@dataclass(frozen=True, eq=False)
class Completer:
    """The completer that is meant: one at hand, or the name of one to be loaded in the thread.

    Parameters
    ----------
    name : str
        What `load_completer` calls it.
    at_hand : UNetCut, optional
    is_learnt : bool
        Whether it was fine-tuned to the image.
    """

    name: str
    at_hand: UNetCut | None = None
    is_learnt: bool = False

    def load(self, device: str) -> Any:
        """Return it, loaded if it is not yet."""
        return self.at_hand or loaded(self.name, device)


def completing(
    request: Request, completer: Completer, cut: CutConfig, *, axes: tuple[int, int], device: str
) -> Generator[str, None, Answer]:
    """Answer a request, yielding a sentence for each part of the work."""
    yield "Loading the network…"
    maker = completer.load(device)
    yield "Looking at the image…"
    question = request.question
    completion = maker.complete(question if request.plane is None else question.plane(*request.plane))
    yield "Cutting the object out…"
    advice = "Accept it, move the sliders, or brush and complete again."
    if completer.is_learnt:
        advice = "From what was learnt of this image: accept it, move the sliders, or brush and go on."
    return _answer(request, maker, completion, cut, axes, advice)


def cutting_again(offer: Offer, cut: CutConfig, *, axes: tuple[int, int], advice: str) -> Generator[str, None, Answer]:
    """Cut a completion on offer in another way: the network is not asked again."""
    yield ""
    return _answer(offer.request, offer.maker, offer.completion, cut, axes, advice)


def _answer(
    request: Request, maker: Any, completion: Completion, cut: CutConfig, axes: tuple[int, int], advice: str
) -> Answer:
    request = request.with_arguments(**asdict(cut))
    candidates = _candidates(request, completion, cut)
    is_of_volume = request.plane is None and request.case.ndim == 3
    shown = exhibit(candidates, axes, in_volume=is_of_volume, advice=advice)
    return Answer(request, maker, candidates, shown, completion)


def _candidates(request: Request, completion: Completion, cut: CutConfig) -> Candidates:
    candidates = completion.candidates(cut)
    return candidates if request.plane is None else in_volume(candidates, request.question, request.plane)


def loaded(name: str, device: str) -> UNetCut | GraphCut | TrainedUNet:
    """Return a completer; its network is loaded once for all."""
    with quiet_import():
        from napari_probseg.proposers import load_completer

        return load_completer(name, device=device)

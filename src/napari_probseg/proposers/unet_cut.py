"""The completer: a network says how likely each voxel is object, a graph cut finds the best mask through that."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_probseg.case import Case, Marker, Plane
from napari_probseg.inference.answer import answer
from napari_probseg.inference.device import with_fallback
from napari_probseg.inference.doubt import undoubted
from napari_probseg.inference.held import given
from napari_probseg.inference.hint import with_hint
from napari_probseg.inference.inputs import enlarged, resized, window_input, window_inputs
from napari_probseg.inference.scale_selection import beliefs
from napari_probseg.inference.volume import answer_in_volume
from napari_probseg.inference.windows import Window, cut_off, window_on, windows_around
from napari_probseg.nn.advised import AdvisedCVAE
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.presets import General
from napari_probseg.nn.volume import VolumeCVAE
from napari_probseg.progress import Progress, result_of
from napari_probseg.proposers.completer import Completer
from napari_probseg.proposers.completion import Completion, CutConfig
from napari_probseg.proposers.cvae import CVAEProposer
from napari_probseg.proposers.networks import AsksNetworks
from napari_probseg.region import Part, bounding_box, overlap, relative
from napari_probseg.training.adapt import AdaptConfig, Lesson, agreement, lesson, tune
from napari_probseg.training.teach import Examples, TeachConfig, exam_of, examined, teach
from napari_probseg.unaries.watershed import with_flood


@dataclass(frozen=True)
class UNetCutConfig:
    """How a network without advisers is asked; one with advisers knows that itself.

    Parameters
    ----------
    n_windows : int
        Looked at, from close to far.
    max_closeness : float
        Of the closest window, see `windows_around`: a stroke outside can lie far from a small object.
    trust_in_farther : (float, float)
        How much less each farther window is believed, in images and in volumes: in a cube of 32 voxels little is to be
        seen of small things.
    max_voxels : int
        Completed at once: their cut takes about 1 GB.
    max_rim_share : float
        Of a window's rim that an object may lie on where it is looked at a second time.
    margin : float
        Window over object, where it is looked at a second time.
    max_flooded_pixels : int
        It takes about a second to flood so many.
    """

    n_windows: int = 5
    max_closeness: float = 4.0
    trust_in_farther: tuple[float, float] = (1.0, 0.9)
    max_voxels: int = 2**25
    max_rim_share: float = 0.02
    margin: float = 1.7
    max_flooded_pixels: int = 2**22


class UNetCut(AsksNetworks, Completer):
    """Completes an object; satisfies `napari_probseg.Proposer`, with one candidate.

    Parameters
    ----------
    networks, name, device
        See `AsksNetworks`; the deterministic head of the networks is the one that is asked.
    config : UNetCutConfig, optional
    """

    def __init__(
        self,
        networks: Mapping[int, General],
        *,
        name: str = "general",
        device: str = "auto",
        config: UNetCutConfig | None = None,
    ) -> None:
        super().__init__(networks, name=name, device=device)
        self.config = config or UNetCutConfig()
        self.untuned = dict(self.networks)  # as they were before any was fine-tuned

    @property
    def proposer(self) -> CVAEProposer:
        """What proposes by the same networks."""
        return CVAEProposer(self.networks, name=self.name, device=str(self.device))

    def complete(self, case: Case) -> Completion:
        """Look at a case once; masks are cut from what comes back.

        It looks from close and from far, believes the window whose neighbours see the same object (what only one of
        them sees is an accident of the zoom), and looks again at the object that it has found there. In an image, what
        the strokes flood counts, too.

        Parameters
        ----------
        case : Case
            (Y, X) or (Z, Y, X), with a mark at least.

        Returns
        -------
        Completion

        Raises
        ------
        ValueError
            If no network is for such images, nothing is marked, or the marks lie too far apart.
        """
        case = case.at(None)
        self._require(case.ndim)
        hinted = with_hint(case)
        network = self.networks[case.ndim]
        if isinstance(network, AdvisedCVAE):
            made = with_fallback(self, lambda: answer(network, undoubted(hinted), self.device))
            found = given(hinted, made)
            probability = found.probability(case.shape)
            return Completion(case, found.window, probability, expected_dice=found.confidence, answer=made)
        of_images = self.networks.get(2)
        if isinstance(network, VolumeCVAE) and isinstance(of_images, AdvisedCVAE):
            seen = with_fallback(
                self, lambda: answer_in_volume(network, of_images, hinted, self.device, self.remembered)
            )
            expected = None if seen.untold is None else seen.confidence
            return Completion(case, seen.window, seen.probability(), expected_dice=expected)
        return self._completed(case, hinted)

    def _completed(self, case: Case, hinted: Case) -> Completion:
        """Complete with a network that is not advised, of an earlier release or of volumes."""
        config = self.config
        around = windows_around(hinted, config.n_windows, close=config.max_closeness)
        n_least = around[0].n_voxels(case.shape)
        if n_least > config.max_voxels:
            raise ValueError(
                f"the marks lie too far apart to complete all between them at once ({n_least:.1e} voxels, "
                f"{config.max_voxels:.1e} are possible): complete a part of the volume, or accept some slices and "
                f"carry them on"
            )
        windows, logits = self._look(hinted, [w for w in around if w.n_voxels(case.shape) <= config.max_voxels])
        trust = config.trust_in_farther[case.ndim - 2]
        believed = np.array(beliefs(case, windows, logits)) * trust ** np.arange(len(windows))
        found = int(np.argmax(believed))
        window, logit = windows[found], logits[found]
        again = self._around_object(hinted, window, logit)
        if again is not None and again.n_voxels(case.shape) <= config.max_voxels:
            [again], [closer] = self._look(hinted, [again])
            if float(cut_off(closer > 0, again, case.shape)) <= config.max_rim_share:
                window, logit = again, closer
        full = enlarged(logit[None], window.size, window.visible(case.shape))[0].sigmoid_().numpy()
        completion = Completion(case, window, full)
        if case.ndim == 2 and full.size <= config.max_flooded_pixels:  # in volumes it brought nothing
            completion.probability = with_flood(full, completion.image, case.partial[completion.where])
        return completion

    def adapt(self, case: Case, config: AdaptConfig | None = None, *, plane: Plane | None = None) -> UNetCut:
        """Return a completer that is fine-tuned to this image; this one stays as it is.

        Parameters
        ----------
        case : Case
            With strokes inside and outside.
        config : AdaptConfig, optional
        plane : (axis, index), optional
            The plane of a volume to learn from; the volume if absent.

        Returns
        -------
        UNetCut
            This one itself if learning did not help it to foresee the strokes.

        Raises
        ------
        ValueError
            As `propose`, and if only one side of the border is marked.
        """
        return result_of(self.adapting(case, config, plane=plane))

    def adapting(
        self, case: Case, config: AdaptConfig | None = None, *, plane: Plane | None = None
    ) -> Generator[Progress, None, UNetCut]:
        """Do what `adapt` does, step by step, so that it can be shown and given up.

        The image is segmented, and the network trained towards that, in turn (BIFSeg, Wang et al. 2018). A turn after
        which the strokes are foreseen worse than before it, each from the others or all by the completion, is taken
        back and is the last.

        Yields
        ------
        Progress
            After each step of training.
        """
        config = config or AdaptConfig()
        case = case.at(plane)
        _require_both_sides(case)
        kept, completion = self, self.complete(case)
        taught = self._lesson(case, completion, config)
        exam, passed = taught.x, _foresight(self, taught.x, completion)
        n_steps, done = config.n_rounds * config.n_steps, 0
        for i in range(config.n_rounds):
            if i > 0:
                taught = kept._lesson(case, completion, config)
            tuned, network = copy(self), deepcopy(kept.networks[case.ndim])
            tuned.networks = self.networks | {case.ndim: network}
            for progress in tune(network, taught, config, seed=i):
                done += 1
                yield Progress(done, n_steps, progress.losses, progress.seconds)
            network.requires_grad_(False).eval()
            completion = tuned.complete(case)
            reached = _foresight(tuned, exam, completion)
            if any(now < before for now, before in zip(reached, passed, strict=True)):
                break
            kept, passed = tuned, reached
        return kept

    def learn(
        self, case: Case, finished: Sequence[Part], config: TeachConfig | None = None, *, plane: Plane | None = None
    ) -> UNetCut:
        """Return a completer that has learnt from finished objects of this image; this one stays as it is.

        Before and after it completes the latest of them from two dabs each.

        Parameters
        ----------
        case : Case
            The image; its strokes do not count.
        finished : sequence of Part
            Finished objects, the latest last.
        config : TeachConfig, optional
        plane : (axis, index), optional
            A plane of a volume if planes are to be learnt from: of each object that one along the same axis which shows
            the most of it. In 3-D if absent.

        Returns
        -------
        UNetCut
            This one itself if such objects are known already, or learning did not help.

        Raises
        ------
        ValueError
            If there is no finished object, or they are too small.
        """
        return result_of(self.learning(case, finished, config, plane=plane))

    def learning(
        self, case: Case, finished: Sequence[Part], config: TeachConfig | None = None, *, plane: Plane | None = None
    ) -> Generator[Progress, None, UNetCut]:
        """Do what `learn` does, step by step, so that it can be shown and given up.

        Yields
        ------
        Progress
            After each step of training.

        Raises
        ------
        ValueError
            As `learn`.
        """
        config, ndim = config or TeachConfig(), case.at(plane).ndim
        self._require(ndim)
        if not finished:
            raise ValueError("there is no finished object to learn from: finish one first")
        network = deepcopy(self.untuned[ndim])
        objects = [_seen_at(case, part, plane) for part in finished]
        examples, exam = Examples.of(objects, network, config), exam_of(objects, config)
        if exam and (so_far := examined(self, exam)) >= config.known:
            return self
        yield from teach(network, examples, config)
        taught = copy(self)
        taught.networks = self.networks | {ndim: network.requires_grad_(False).eval()}
        return self if exam and examined(taught, exam) <= so_far else taught

    def _require(self, ndim: int) -> None:
        """Raise if no network is for images of so many axes."""
        if ndim not in self.networks:
            raise ValueError(f"these weights complete {sorted(self.networks)[0]}-D images, not {ndim}-D ones")

    def _lesson(self, case: Case, completion: Completion, config: AdaptConfig) -> Lesson:
        """Return what is to be learnt of the window that a completion looked at."""
        size, n_channels = WINDOW_SIDE[case.ndim], self.networks[case.ndim].config.n_image_channels
        window = completion.window if case.ndim == 2 else window_on(case, completion.where, margin=1.0)
        x = window_input(case, window, size, n_channels=n_channels)
        maps = np.zeros((2, *window.size), dtype=np.float32)
        both = overlap(window.within(case.shape), completion.where)
        if both is not None:
            seen = tuple(slice(s.start - low, s.stop - low) for s, low in zip(both, window.low, strict=True))
            own = relative(both, completion.where)
            maps[:, *seen] = completion.mask(CutConfig())[own], completion.probability[own]
        target, probability = resized(torch.from_numpy(maps), (size,) * case.ndim)
        return lesson(x, target > 0.5, probability, config)

    @torch.inference_mode()
    def _look(self, case: Case, windows: list[Window]) -> tuple[list[Window], Tensor]:
        """Return the windows that there is something to see in, and the logits of object in each, (windows, S, ...)."""
        network = self.networks[case.ndim]
        n_channels = network.config.n_image_channels
        windows, x = window_inputs(case, windows, WINDOW_SIDE[case.ndim], n_channels=n_channels)

        def said() -> Tensor:
            features = network.features(x.to(self.device))
            return network.decode_control(features, torch.ones(len(x), device=self.device)).object.float().cpu()

        return windows, with_fallback(self, said)

    def _around_object(self, case: Case, window: Window, logit: Tensor) -> Window | None:
        """Return the window that fits the object found in another, None if there is none or it fits already."""
        box = bounding_box(np.asarray(logit > 0))
        if box is None:
            return None
        scale = [n / logit.shape[0] for n in window.size]
        where = tuple(
            slice(low + int(s.start * f), low + max(int(s.start * f) + 1, round(s.stop * f)))
            for low, s, f in zip(window.low, box, scale, strict=True)
        )
        fitting = window_on(case, where, margin=self.config.margin)
        return None if 0.8 < fitting.size[-1] / window.size[-1] < 1.25 else fitting


def _seen_at(case: Case, part: Part, plane: Plane | None) -> tuple[Case, Part]:
    """Return an object with its image; where a plane is asked about, on the plane along its axis that shows most."""
    if plane is None:
        return case, part
    widest = plane[0], part.widest(plane[0])
    on_plane = part.at(widest)
    assert on_plane is not None
    return case.plane(*widest), on_plane


def _require_both_sides(case: Case) -> None:
    """Raise if one side of the border is marked alone; `complete` raises where nothing is."""
    present = [(case.partial[case.marked] == marker).any() for marker in (Marker.OBJECT, Marker.BACKGROUND)]
    if any(present) and not all(present):
        side = "outside" if present[0] else "inside"
        raise ValueError(f"the image is learnt from strokes on both sides of the border: brush a little {side}, too")


def _foresight(completer: UNetCut, x: Tensor, completion: Completion) -> tuple[float, float]:
    """Return how well strokes are foreseen, from one another and all by a completion, each in [0, 1]."""
    return agreement(completer.networks[completion.case.ndim], x), completion.foreseen()

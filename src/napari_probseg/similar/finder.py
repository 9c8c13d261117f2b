"""Finder: learns what examples look like, finds seeds tile by tile, completes them, and ranks what comes of that."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from napari_probseg.images import are_same_voxels, fingerprint
from napari_probseg.morphology import deepest
from napari_probseg.nn.general import WINDOW_SIDE
from napari_probseg.nn.presets import General
from napari_probseg.progress import Progress
from napari_probseg.region import Part, Region, overlap, relative
from napari_probseg.similar.border import BY_LOOK, N_FORETOLD, Border, Foretold, learnt_border
from napari_probseg.similar.classifier import Classifier, Scale, sides
from napari_probseg.similar.completion import (
    N_BATCH,
    Answer,
    completed,
    cut_out,
    divided,
    ends_with,
    object_at,
)
from napari_probseg.similar.examples import MIN_VOXELS, Example, Form, Query, diameter_of, form_of
from napari_probseg.similar.features import DIAMETER_SAMPLES, View
from napari_probseg.similar.frame import Frame
from napari_probseg.similar.likeness import facts_of
from napari_probseg.similar.offer import DECIDED_SHARE, DEFAULT_LINE, MIN_LIKELIHOOD, Similar, SimilarObject, score_of
from napari_probseg.similar.overlaps import distinct, without_overlaps
from napari_probseg.similar.seeds import Seed, radii_of, seeds_of

TILE_SIDE_SAMPLES = {2: 256, 3: 48}  # samples along a side of what is looked at at once
TILE_OVERLAP_SAMPLES = {2: 16, 3: 8}  # samples beyond it, so that nothing is lost at its rim
N_SAMPLED = 4  # tiles from which the scale of the features is taken, and what is unknown
N_UNKNOWN = 2000  # places of those
MAX_EXAMPLES = 24  # the latest finished objects that are learnt from
LARGER_WINDOW = 1.6  # times as large, where an object ends with the window that it is looked at in
SEEDS_PER_OBJECT = 3  # that are completed at most for each object asked for, those that stand out most first
MAX_KEPT_TILES = 12  # whose features are kept for the next time
SIZES_APART = 2**0.25  # ratio of diameters that share the features of an image


@dataclass(frozen=True, eq=False)
class _Sought:
    """What is looked for.

    Parameters
    ----------
    classifier : Classifier
    border : Border
        Where such an object ends.
    forms : sequence of Form
        Of the examples.
    """

    classifier: Classifier
    border: Border
    forms: Sequence[Form]


@dataclass(eq=False)
class _Seen:
    """An image as it was looked at for one size of objects."""

    view: View
    image: str
    scale: Scale
    unknown: list[tuple[Region, NDArray[np.float32]]]
    tiles: dict[int, NDArray[np.float16]]
    examples: dict[Any, Example]


class Finder:
    """Finds objects like finished ones; what it has seen of an image it keeps for the next time.

    Parameters
    ----------
    networks : mapping of int to network
        By the number of axes; without one for an image, what the classifier says is what is offered.
    """

    def __init__(self, networks: Mapping[int, General] | None = None) -> None:
        self.networks = dict(networks or {})
        self._seen: dict[tuple[int, int], _Seen] = {}
        self._image: Any = None

    def finding(self, query: Query, n: int | None = 30) -> Generator[Progress, None, Similar]:
        """Look for objects; tiles near to the latest example come first, and it ends when ``n`` likely ones are found.

        Yields
        ------
        Progress
            After each tile.

        Returns
        -------
        Similar
            At most ``n`` objects.

        Raises
        ------
        ValueError
            If there is nothing to go by, or the image is constant.
        """
        if n is not None and n < 1:
            raise ValueError(f"at least one object must be asked for, got n={n}")
        if query.elsewhere() is not None:  # objects at other times are what is looked for at this one
            query = replace(query, known=(*query.known, *self.examples_of(query)))
        like = query.examples[-1].label if query.examples else 0
        query, plane = query.checked(), query.plane
        seen = self._look_at(query)
        examples = self._learn(query, seen)
        against = [
            self._example_of(query, part, seen).inside for part in (*query.others[-MAX_EXAMPLES:], *query.skipped)
        ]
        unknown = np.concatenate([rows for _, rows in seen.unknown])
        border = self._border(query, seen, examples, lambda kept: Classifier.of(kept, against, unknown))
        sought = _Sought(Classifier.of(examples, against, unknown), border, [example.form for example in examples])
        tiles = _from_near(seen.view.frame.tiles(TILE_SIDE_SAMPLES[query.case.ndim]), seen.view.frame, query)
        found: list[SimilarObject] = []
        most = None if n is None else SEEDS_PER_OBJECT * n + N_BATCH[query.case.ndim]
        for i, (number, tile) in enumerate(tiles):
            yield Progress(i, len(tiles))
            found = distinct([*found, *self._in_tile(query, seen, sought, number, tile, most)])
            if n is not None and sum(o.score >= DEFAULT_LINE for o in found) >= n:
                break
        yield Progress(len(tiles), len(tiles))
        kept = without_overlaps([o for o in found[:n] if o.score >= MIN_LIKELIHOOD])
        objects = tuple(replace(o, number=i).in_series(plane) for i, o in enumerate(kept))
        return Similar(objects, len(examples), like, ndim=query.case.ndim)

    def examples_of(self, query: Query) -> list[Example]:
        """Return what the examples of this image look like, to be known in other images.

        Of a time series, those at the nearest time where the image that is meant has none.
        """
        query = (query.elsewhere() or query).checked()
        return self._learn(replace(query, known=()), self._look_at(query)) if query.examples else []

    # What examples look like --------------------------------------------------------------------------------------

    def _look_at(self, query: Query) -> _Seen:
        """Return the image as it looks for objects of the examples' size; features are computed once for each size."""
        if not are_same_voxels(self._image, query.case.image):
            self._image, self._seen = query.case.image, {}
        diameters = [diameter_of(part.mask, query.case.spacing or ()) for part in query.examples]
        diameters = diameters or [e.form.diameter for e in query.known]
        level = round(np.log(float(np.median(diameters))) / np.log(SIZES_APART))
        key = id(self._image), level
        if key not in self._seen:
            self._seen = {}  # one size at a time: features are large
            network = self.networks.get(query.case.ndim)
            view = View.of(query.case, network, SIZES_APART**level)
            self._seen[key] = _sampled(view)
        return self._seen[key]

    def _learn(self, query: Query, seen: _Seen) -> list[Example]:
        """Return the latest examples, those of this image before those of others.

        Raises
        ------
        ValueError
            If there are examples of other images alone, and these have other channels or axes.
        """
        own = [self._example_of(query, part, seen) for part in query.examples[-MAX_EXAMPLES:]]
        kind = query.case.ndim, len(seen.scale.mean)
        known = [e for e in query.known if (e.ndim, e.inside.shape[1]) == kind and not (own and e.image == seen.image)]
        if not own and not known:
            raise ValueError(
                "the examples are of images of another kind (other channels, or volumes and slices): "
                "finish one object here first"
            )
        return [*own, *known[-max(1, MAX_EXAMPLES - len(own)) :]]

    def _example_of(self, query: Query, part: Part, seen: _Seen) -> Example:
        key = (tuple((s.start, s.stop) for s in part.where), part.mask.tobytes())
        if key not in seen.examples:
            seen.examples[key] = _example(query, part, seen)
        return seen.examples[key]

    def _border(
        self,
        query: Query,
        seen: _Seen,
        examples: Sequence[Example],
        learn: Callable[[Sequence[Example]], Classifier],
    ) -> Border:
        """Return where such objects end: each of the latest examples is foretold by the others."""
        case, network = query.case, self.networks.get(query.case.ndim)
        if network is None:
            return BY_LOOK
        foretold, has_others = [], len(examples) > 1
        for part in query.examples[-N_FORETOLD:] if has_others or case.ndim == 2 else ():
            own = self._example_of(query, part, seen)
            inside = deepest(part.mask, np.asarray(case.spacing, dtype=float))
            place = [p + s.start for p, s in zip(inside, part.where, strict=True)]
            [answer] = completed(network, case, [place], [own.form.diameter])
            by_look = np.zeros_like(answer.log_odds)
            if has_others:
                side = round(1.5 * DIAMETER_SAMPLES[case.ndim])
                frame = seen.view.frame.part(seen.view.frame.holding(part.where), side)
                odds = learn([e for e in examples if e is not own])(seen.scale(seen.view.features(frame)))
                by_look = _on_voxels(frame, odds, answer.where)
            at = tuple(p - s.start for p, s in zip(place, answer.where, strict=True))
            locked = _locked(answer.where, [p for p in (*query.examples, *query.others) if p is not part])
            foretold.append(Foretold(answer, by_look, at, _locked(answer.where, [part]), locked))
        return learnt_border(case.ndim, foretold, by_look=has_others)

    # What is in a tile --------------------------------------------------------------------------------------------

    def _in_tile(
        self,
        query: Query,
        seen: _Seen,
        sought: _Sought,
        number: int,
        tile: Region,
        most: int | None,
    ) -> list[SimilarObject]:
        case, margin = query.case, TILE_OVERLAP_SAMPLES[query.case.ndim]
        frame = seen.view.frame.part(tile, margin)
        if number not in seen.tiles:
            while len(seen.tiles) >= MAX_KEPT_TILES:
                seen.tiles.pop(next(iter(seen.tiles)))
            seen.tiles[number] = seen.scale(seen.view.features(frame)).astype(np.float16)
        odds = sought.classifier(seen.tiles[number].astype(np.float32))
        taken = _share(frame, (*query.examples, *query.others))
        inside = np.where(taken > 0.3, 0, expit(odds / 2)).astype(np.float32)
        mm = frame.step[0] * float((case.spacing or (1.0,))[0])
        inner = [range(margin, margin + s.stop - s.start) for s in tile]
        seeds = [
            seed
            for seed in seeds_of(inside, radii_of([form.diameter for form in sought.forms], mm))
            if all(p in side for p, side in zip(seed.place, inner, strict=True))
        ][:most]
        found = []
        batch = N_BATCH[case.ndim]
        for i in range(0, len(seeds), batch):
            some = seeds[i : i + batch]
            for seed, answer in zip(some, self._answers(case, frame, odds, some, mm), strict=True):
                objects, is_whole = _objects_of(query, seen, frame, odds, sought, seed, seeds, answer)
                if not is_whole:
                    [answer] = self._answers(case, frame, odds, [seed], LARGER_WINDOW * mm)
                    objects += _objects_of(query, seen, frame, odds, sought, seed, seeds, answer)[0]
                found += [o for o in objects if not any(o.share_of(part) >= DECIDED_SHARE for part in query.skipped)]
        return found

    def _answers(
        self, case: Any, frame: Frame, odds: NDArray[np.float32], seeds: Sequence[Seed], mm: float
    ) -> list[Answer]:
        """Return what is seen at seeds, in windows for radii of so many mm a sample."""
        network = self.networks.get(case.ndim)
        places = [[o + s * p for o, s, p in zip(frame.origin, frame.step, seed.place, strict=True)] for seed in seeds]
        if network is not None:
            return completed(network, case, places, [2 * seed.radius * mm for seed in seeds])
        found = []
        for seed, place in zip(seeds, places, strict=True):
            window = Frame.around(case, place, 6 * seed.radius * mm, WINDOW_SIDE[case.ndim]).within(case.shape)
            found.append(Answer(window, _on_voxels(frame, odds, window), 0.5))
        return found


def _sampled(view: View) -> _Seen:
    """Look at some tiles of an image."""
    ndim = view.case.ndim
    tiles = view.frame.tiles(TILE_SIDE_SAMPLES[ndim])
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(tiles))[:N_SAMPLED]
    parts = [(int(i), view.frame.part(tiles[i], TILE_OVERLAP_SAMPLES[ndim])) for i in chosen]
    features = [view.features(frame) for _, frame in parts]
    scale = Scale.of(features)
    unknown, kept = [], {}
    for (i, frame), values in zip(parts, features, strict=True):
        scaled = scale(values)
        kept[i] = scaled.astype(np.float16)
        rows = scaled.reshape(len(scaled), -1)
        places = rng.permutation(rows.shape[1])[: N_UNKNOWN // len(parts)]
        unknown.append((frame.within(view.case.shape), np.ascontiguousarray(rows[:, places].T)))
    return _Seen(view, fingerprint(view.case.image), scale, unknown, kept, {})


def _example(query: Query, part: Part, seen: _Seen) -> Example:
    """Look at one object and what lies around it."""
    frame, case = seen.view.frame, query.case
    margin = round(DIAMETER_SAMPLES[case.ndim]) // 2 + 2
    near = frame.part(frame.holding(part.where), margin)
    scaled = seen.scale(seen.view.features(near))
    share = near.mask(part.where, part.mask)
    inside, outside = sides(scaled, share, np.maximum(share, _share(near, (*query.examples, *query.others))))
    image = seen.view.intensities(Frame(tuple(float(s.start) for s in part.where), (1.0,) * case.ndim, part.mask.shape))
    return Example(inside, outside, form_of(part.mask, case.spacing or (), image.numpy()), case.ndim, seen.image)


def _objects_of(
    query: Query,
    seen: _Seen,
    frame: Frame,
    odds: NDArray[np.float32],
    sought: _Sought,
    seed: Seed,
    seeds: Sequence[Seed],
    answer: Answer,
) -> tuple[list[SimilarObject], bool]:
    """Return the object that an answer shows, and the part of it that is its seed's where others lie in it.

    What ends with the window of the answer is not among them; and whether the object as a whole does not.
    """
    case = query.case
    by_look = _on_voxels(frame, odds, answer.where)
    answer = replace(answer, log_odds=sought.border.log_odds(answer.log_odds, by_look))
    locked = _locked(answer.where, (*query.examples, *query.others))
    at = _within(frame, seed, answer, case.shape)
    at = tuple(min(max(0, p), n - 1) for p, n in zip(at, locked.shape, strict=True))
    rough = object_at(answer.log_odds, at, locked)
    if rough is None:
        return [], True
    others = [_within(frame, o, answer, case.shape) for o in seeds if o is not seed and o.radius > 0.7 * seed.radius]
    found = []
    for mask in (rough, divided(rough, at, others)):
        if mask is None or ends_with(mask, answer.where, case.shape):
            continue
        if np.count_nonzero(mask) >= MIN_VOXELS:
            where, cut = cut_out(case, answer, mask, locked)
            if np.count_nonzero(cut) >= MIN_VOXELS:
                facts = facts_of(seen.view, seed, answer, by_look, where, cut, sought.forms)
                found.append(SimilarObject(where, cut, facts, score_of(facts, case.ndim)))
    return found, not ends_with(rough, answer.where, case.shape)


def _within(frame: Frame, seed: Seed, answer: Answer, shape: Sequence[int]) -> tuple[int, ...]:
    """Return where a seed lies in the region of an answer; it may lie outside."""
    return tuple(p - s.start for p, s in zip(frame.voxel(seed.place, shape), answer.where, strict=True))


def _on_voxels(frame: Frame, values: NDArray[np.float32], where: Region) -> NDArray[np.float32]:
    return frame.on_voxels(torch.from_numpy(np.ascontiguousarray(values)), where)


def _share(frame: Frame, parts: Iterable[Part]) -> NDArray[np.float32]:
    """Return the share of finished objects in each place of a frame."""
    share = np.zeros(frame.shape, dtype=np.float32)
    low = [o - s for o, s in zip(frame.origin, frame.step, strict=True)]
    high = [o + s * n for o, s, n in zip(frame.origin, frame.step, frame.shape, strict=True)]
    for part in parts:
        if all(s.start <= b and s.stop >= a for s, a, b in zip(part.where, low, high, strict=True)):
            where = frame.holding(part.where)
            share[where] = np.maximum(share[where], frame.part(where).mask(part.where, part.mask))
    return share


def _locked(where: Region, parts: Iterable[Part]) -> NDArray[np.bool_]:
    """Return which voxels of a region belong to finished objects."""
    locked = np.zeros([s.stop - s.start for s in where], dtype=bool)
    for part in parts:
        both = overlap(where, part.where)
        if both is not None:
            locked[relative(both, where)] |= part.mask[relative(both, part.where)]
    return locked


def _from_near(tiles: Sequence[Region], frame: Frame, query: Query) -> list[tuple[int, Region]]:
    """Return tiles with their numbers, the nearest to the latest example first."""
    numbered = list(enumerate(tiles))
    if not query.examples:
        return numbered
    box = frame.holding(query.examples[-1].where)
    middle = [(s.start + s.stop) / 2 for s in box]
    return sorted(
        numbered,
        key=lambda t: sum(max(0, s.start - m, m - s.stop) ** 2 for s, m in zip(t[1], middle, strict=True)),
    )


def finder_of(completer: Any = None) -> Finder:
    """Return a finder that asks the networks of a completer; the shipped ones if there is no completer.

    A completer without such networks, by intensities say, gives one without a network.
    """
    if completer is None:
        from napari_probseg.proposers import load_completer

        completer = load_completer()
    networks = getattr(completer, "networks", {})
    return Finder({n: network for n, network in networks.items() if hasattr(network, "decode_control")})

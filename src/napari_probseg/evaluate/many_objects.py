"""The protocol for many objects: a person finishes all of an image, one by one or with offers of others alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_probseg.case import Case, Marker
from napari_probseg.dataset.raw import LabelledImage
from napari_probseg.morphology import ball, deepest
from napari_probseg.region import Region, bounding_box, grown
from napari_probseg.session.session import Session
from napari_probseg.similar import SimilarObject
from napari_probseg.simulate.annotator import dab_radius, largest_error

KEY, STROKE, LOOK = 0.5, 2.5, 0.5  # seconds of a person
GOAL_IOU, GOAL_F1 = 0.7, 0.9  # what an object is finished at, and the share of all that is enough, at IoU 0.5 and there
MAX_STROKES = 6  # on one object, after which it is left as it is
MIN_VOXELS = 30  # of an object that counts
N_OFFERED = 30
MIN_LEARNT = 2  # finished objects, before which a person does not fine-tune
PATIENCE = 3  # wrong objects in a row, after which the person looks at no more of an offer; 1 until one was right
MAX_CLASSIFIER_STROKES = 12

Mask = NDArray[np.bool_]
Drawn = tuple[Region, Mask, int, float]  # where and what, by how many strokes, in how many seconds of the machine
Known = dict[tuple[int, tuple[float, ...]], Drawn]  # by the object, and the sizes of those that were finished before


@dataclass(eq=False)
class Scene:
    """An image with objects that the person knows.

    Parameters
    ----------
    name : str
    case : Case
    truth : int array of the spatial shape
        One number for each object.
    """

    name: str
    case: Case
    truth: NDArray[np.int32]
    boxes: dict[int, Region] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = ndimage.find_objects(self.truth)
        self.boxes = {i: box for i, box in enumerate(found, 1) if box is not None}

    def iou(self, mask: Mask, where: Region) -> tuple[int, float]:
        """Return the object that a mask of a region is most like, and its IoU with that; (0, 0) if there is none."""
        hit = np.bincount(self.truth[where][mask])
        hit[:1] = 0
        if not hit.any():
            return 0, 0.0
        i = int(hit.argmax())
        n = int(np.count_nonzero(self.truth[self.boxes[i]] == i)) + int(np.count_nonzero(mask)) - int(hit[i])
        return i, float(hit[i] / n)


@dataclass
class Effort:
    """What an image took.

    Parameters
    ----------
    keys, strokes, looks : int
        Of the person.
    machine_seconds : float
    offered, offered_right : int
        Objects above the line that were looked at, and those of them with IoU 0.5.
    """

    keys: int = 0
    strokes: int = 0
    looks: int = 0
    machine_seconds: float = 0.0
    offered: int = 0
    offered_right: int = 0

    @property
    def seconds(self) -> float:
        """Of the person."""
        return KEY * self.keys + STROKE * self.strokes + LOOK * self.looks


def scene_of(case: LabelledImage, *, max_objects: int | None = None) -> Scene | None:
    """Return the objects of a case: its ids, or the connected parts of its first label; None if there are too few."""
    labels = case.label if case.instances else ndimage.label(case.label == 1)[0]
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    ids = ids[counts >= MIN_VOXELS]
    if len(ids) < 3:
        return None
    number = np.zeros(int(labels.max()) + 1, dtype=np.int32)
    number[ids] = np.arange(1, len(ids) + 1)
    image, truth = case.image, number[np.maximum(labels, 0)]
    if max_objects is not None and len(ids) > max_objects:
        image, truth = _cropped(image, truth, max_objects)
    return Scene(case.name, Case(image, case.spacing, channel_axis=0), truth)


def _cropped(image: NDArray[Any], truth: NDArray[np.int32], n: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the corner of an image that holds about so many objects; those that are cut small no longer count."""
    share = (n / int(truth.max())) ** (1 / truth.ndim)
    where = tuple(slice(0, max(32, round(size * share))) if size > 32 else slice(0, size) for size in truth.shape)
    image, truth = np.ascontiguousarray(image[:, *where]), truth[where]
    ids, counts = np.unique(truth[truth > 0], return_counts=True)
    number = np.zeros(int(truth.max()) + 1, dtype=np.int32)
    kept = ids[counts >= MIN_VOXELS]
    number[kept] = np.arange(1, len(kept) + 1)
    return image, number[truth]


class Person:
    """Works on one scene by one method; what it takes is counted.

    Parameters
    ----------
    scene : Scene
    completer : Completer
    drawn : dict
        What came of strokes on each object, by what was finished before: where it is the same for several methods, it
        is done once.
    seed : int
        Of the order of the objects.
    """

    def __init__(self, scene: Scene, completer: Any, drawn: Known, seed: int) -> None:
        self.scene, self.drawn = scene, drawn
        self.session = Session(scene.case, completer=completer)
        self.effort = Effort()
        self.reached: dict[int, float] = {}  # IoU of each object that is finished
        self.n_wrong = 0
        self.n_to_learn = MIN_LEARNT  # finished objects, from which fine-tuning is worth a key
        self.was_offered_right = False  # whether any offer was right so far
        ids = sorted(scene.boxes)
        self.left = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]

    @property
    def is_done(self) -> bool:
        """Whether enough is finished, or all."""
        return not self.left or min(self.f1(0.5), self.f1(GOAL_IOU)) >= GOAL_F1

    def f1(self, iou: float) -> float:
        """Return the F1 score over all objects of the image at an IoU."""
        n_right = sum(reached >= iou for reached in self.reached.values())
        n_finished, n = len(self.reached) + self.n_wrong, len(self.scene.boxes)
        return 2 * n_right / (n_finished + n)

    def finish_one(self) -> None:
        """Finish the next object by strokes."""
        what = self.left[0], self.session.sizes()
        known = self.drawn if self.session.learnt is None else {}
        if what not in known:
            known[what] = drawn_by_hand(self.scene, self.session.completer, *what)
        where, mask, n_strokes, seconds = known[what]
        self.effort.strokes += n_strokes
        self.effort.looks += n_strokes
        self.effort.keys += 1
        self.effort.machine_seconds += seconds
        self.take([(where, mask)])

    def fine_tune(self) -> None:
        """Let the network learn from what is finished, with a key, once that is twice as much as before."""
        if len(self.session.finished) >= self.n_to_learn and not self.is_done:
            begun = time.perf_counter()
            self.session.adapt()
            self.effort.machine_seconds += time.perf_counter() - begun
            self.effort.keys += 1
            self.n_to_learn = 2 * len(self.session.finished)

    def take(self, masks: Sequence[tuple[Region, Mask]]) -> None:
        """Have these as finished objects."""
        for where, mask in masks:
            free = mask & (self.session.objects[where] == 0)
            i, iou = self.scene.iou(free, where)
            if i in self.reached or i == 0:
                self.n_wrong += 1
            else:
                self.reached[i] = iou
                self.left.remove(i)
            if free.any():
                self.session.mark(free, where=where)
                self.session.finish()


def one_by_one(person: Person) -> None:
    """Finish each object by strokes and `complete`."""
    while not person.is_done:
        person.finish_one()


def more_like_this(person: Person) -> None:
    """Finish one object; then take what is offered whenever the tool, which looks for more by itself, offers anything.

    The person looks at what is offered, the likeliest first, and goes on drawing after `PATIENCE` wrong ones in a row,
    or after the first if no offer was right in the image yet. What is right costs a key each; or what is wrong before
    the last right one costs a key each to skip, one moves the line there, if it is elsewhere, and one takes all above
    it, if that is less.
    """
    while not person.is_done:
        person.finish_one()
        while not person.is_done and person.session.may_find_more:
            _take_what_is_offered(person)


def fine_tuned(person: Person) -> None:
    """As `more_like_this`, but the network is fine-tuned to what is finished, from the second object on."""
    while not person.is_done:
        person.finish_one()
        person.fine_tune()
        while not person.is_done and person.session.may_find_more:
            _take_what_is_offered(person)
            person.fine_tune()


def _take_what_is_offered(person: Person) -> None:
    effort, session = person.effort, person.session
    begun = time.perf_counter()
    offer = session.propose_similar(N_OFFERED)
    effort.machine_seconds += time.perf_counter() - begun
    if not offer.pays:
        return
    n_above = len(offer.above())
    right: list[tuple[int, SimilarObject]] = []
    wrong: list[SimilarObject] = []
    n_wrong = in_a_row = 0  # before the last right one, and after it
    for k, o in enumerate(offer.objects):
        i, iou = person.scene.iou(o.mask, o.where)
        effort.looks += 1
        effort.offered += k < n_above
        effort.offered_right += k < n_above and iou >= 0.5
        if iou >= GOAL_IOU and i not in person.reached and i not in {r for r, _ in right}:
            right.append((i, o))
            n_wrong, in_a_row = len(wrong), 0
        else:
            wrong.append(o)
            in_a_row += 1
        if in_a_row == (PATIENCE if right or person.was_offered_right else 1):
            break
    person.was_offered_right |= bool(right)
    n_at_once = n_wrong + (len(right) + n_wrong != n_above) + 1
    if n_at_once < len(right):
        for o in wrong[:n_wrong]:
            session.skip(o.mask, where=o.where)
    effort.keys += min(n_at_once, len(right))
    person.take([(o.where, o.mask) for _, o in right])


def pixel_classifier(person: Person) -> None:
    """Train a random forest with strokes, part what it finds by a watershed, take that, and finish the rest by hand.

    That is the way of ilastik (Berg et al. 2019) and APOC. The strokes lie where it is most wrong; what is wrong among
    the objects costs a key each, or what is right, whichever is less.
    """
    from napari_probseg.evaluate.peers import instances_by_forest

    scene, effort = person.scene, person.effort
    mm = np.asarray(scene.case.spacing, dtype=float)
    radius = dab_radius(scene.case.shape, mm)
    marks = np.zeros(scene.truth.shape, dtype=np.uint8)
    is_object, found = scene.truth > 0, np.zeros(scene.truth.shape, dtype=np.int32)
    best: tuple[int, NDArray[np.int32]] = (-1, found)
    for n in range(MAX_CLASSIFIER_STROKES):
        wrong = is_object & (found == 0) if n % 2 == 0 else ~is_object & (found > 0)
        wrong = wrong & (marks == 0)
        if not wrong.any():
            wrong = (is_object if n % 2 == 0 else ~is_object) & (marks == 0)
        middle = deepest(wrong, mm)
        drawn = ball(scene.truth.shape, middle, radius, mm) & (is_object == is_object[middle])
        marks[drawn] = Marker.OBJECT if n % 2 == 0 else Marker.BACKGROUND
        effort.strokes += 1
        effort.looks += 1
        if n:
            begun = time.perf_counter()
            found = instances_by_forest(scene.case, marks)
            effort.machine_seconds += time.perf_counter() - begun
            n_right = len(_right_of(scene, found))
            best = max(best, (n_right, found), key=lambda b: b[0])
    right = _right_of(scene, best[1])
    n_wrong = len(np.unique(best[1])) - 1 - len(right)
    effort.keys += min(n_wrong + 1, len(right)) if right else 0
    person.take(right)
    one_by_one(person)


def _right_of(scene: Scene, found: NDArray[np.int32]) -> list[tuple[Region, Mask]]:
    right: dict[int, tuple[Region, Mask]] = {}
    for label, where in enumerate(ndimage.find_objects(found), 1):
        if where is not None:
            mask = found[where] == label
            i, iou = scene.iou(mask, where)
            if iou >= GOAL_IOU:
                right[i] = (where, mask)
    return list(right.values())


def drawn_by_hand(scene: Scene, completer: Any, i: int, sizes: Sequence[float] = ()) -> Drawn:
    """Return where an object lies and what `complete` makes of dabs on it, how many, and the seconds that it took.

    Each dab lies where the result near the object is most wrong, as in `napari-probseg evaluate`, but no larger than
    fits the object.
    """
    box = scene.boxes[i]
    mm = np.asarray(scene.case.spacing, dtype=float)
    margins = [8 + 2 * (s.stop - s.start) for s in box]
    where = grown(box, margins, scene.case.shape)
    truth = scene.truth[where] == i
    radius = min(dab_radius(scene.case.shape, mm), 0.5 * _depth(truth, mm))
    case, result, expected_dice = scene.case.with_sizes(sizes), np.zeros_like(truth), 0.0
    best = (0.0, result)
    begun = time.perf_counter()
    n = 0
    while n < MAX_STROKES and best[0] < GOAL_IOU:
        n += 1
        inside, outside = _dab(result, truth, mm, radius)
        case = case.mark(inside, outside, where=where)
        if n > 1:
            case = case.with_shown(where, result, expected_dice)
        candidates = completer.propose(case, 1)
        result, expected_dice = candidates.accept(0).partial[where] == Marker.OBJECT, float(candidates.score[0])
        union = int(np.count_nonzero(result | truth))
        iou = int(np.count_nonzero(result & truth)) / max(1, union)
        best = max(best, (iou, result), key=lambda b: b[0])
    inner = bounding_box(best[1])
    if inner is None:
        return box, scene.truth[box] == i, n, time.perf_counter() - begun
    at = tuple(slice(w.start + s.start, w.start + s.stop) for w, s in zip(where, inner, strict=True))
    return at, best[1][inner], n, time.perf_counter() - begun


def _depth(mask: Mask, mm: NDArray[np.float64]) -> float:
    return float(ndimage.distance_transform_edt(np.pad(mask, 1), sampling=mm).max())


def _dab(result: Mask, truth: Mask, mm: NDArray[np.float64], radius: float) -> tuple[Mask, Mask]:
    largest = largest_error(result, truth)
    middle = deepest(truth if largest is None else largest, mm)
    drawn = ball(truth.shape, middle, max(radius, 0.6 * float(mm.min())), mm) & (truth == truth[middle])
    return drawn & truth, drawn & ~truth

"""What the general proposer promises, trained or not, beside what every proposer does (test_proposer_contract)."""

import warnings
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_probseg as ps
from napari_probseg.inference.device import chosen_device
from napari_probseg.inference.diversity import MIN_IOU_ALIKE, choose_distinct, pairwise_iou
from napari_probseg.inference.inputs import window_input, with_channels
from napari_probseg.inference.windows import windows_around
from napari_probseg.morphology import ball
from napari_probseg.nn.checkpoint import write_weights
from napari_probseg.nn.general import WINDOW_SIDE, GeneralConfig, GeneralCVAE
from napari_probseg.proposers.cvae import CVAEConfig, CVAEProposer
from untrained import cvae_proposer as untrained

PROPOSERS = {"untrained": untrained, "general": lambda: ps.load_proposer("general", device="cpu")}


@pytest.fixture(params=PROPOSERS, scope="module")
def proposer(request: pytest.FixtureRequest) -> CVAEProposer:
    return PROPOSERS[request.param]()


def disk_image(shape: tuple[int, int] = (120, 150), radius: float = 20.0) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(0).normal(0, 0.05, shape)
    return (np.hypot(y - 60, x - 70) < radius) * 0.6 + 0.2 + noise


def marked(image: np.ndarray, **options: object) -> ps.Case:
    case = ps.Case(image, **options)
    one = np.ones(2)
    return case.mark(ball(case.shape, (60, 70), 3, one), ball(case.shape, (60, 110), 3, one))


def volume(axis: int) -> tuple[ps.Case, ps.Case]:
    """Return a plane's case and a volume that holds it at index 4 of an axis."""
    flat = marked(disk_image())
    stack = np.random.default_rng(1).random((9, *flat.shape))
    stack[4] = flat.image
    strokes = np.zeros(stack.shape, dtype=np.uint8)
    strokes[4] = flat.strokes
    moved = [np.ascontiguousarray(np.moveaxis(a, 0, axis)) for a in (stack, strokes)]
    return flat, ps.Case(moved[0], partial=moved[1], strokes=moved[1])


def test_candidates_keep_the_contract(proposer: CVAEProposer) -> None:
    case = marked(disk_image())
    candidates = proposer.propose(case, 6, seed=3)
    assert 0 < len(candidates) <= 6
    assert (np.diff(candidates.score) <= 0).all()
    assert ((candidates.score >= 0) & (candidates.score <= 1)).all()
    assert ((candidates.share >= 0) & (candidates.share <= 1)).all()
    assert candidates.uncertainty().shape == case.shape
    decided = case.partial != ps.Marker.UNKNOWN
    for i, partial in enumerate(candidates.partial):
        assert partial.shape == case.shape
        assert partial.dtype == np.uint8
        assert (partial[decided] == case.partial[decided]).all()
        assert candidates.added(i)[0] > 0
        assert np.array_equal(candidates.accept(i).partial, partial)


def test_candidates_are_distinct(proposer: CVAEProposer) -> None:
    candidates = proposer.propose(marked(disk_image()), 8)
    seen = {p.tobytes() for p in candidates.patches}
    assert len(seen) == len(candidates)


def test_same_seed_same_candidates(proposer: CVAEProposer) -> None:
    case = marked(disk_image())
    first, second, other = (proposer.propose(case, 8, seed=s) for s in (5, 5, 6))
    assert np.array_equal(first.patches, second.patches)
    assert np.array_equal(first.score, second.score)
    assert first.patches.shape != other.patches.shape or not np.array_equal(first.patches, other.patches)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_of_a_volume_is_treated_like_the_plane_alone(proposer: CVAEProposer, axis: int) -> None:
    flat, case = volume(axis)
    alone = proposer.propose(flat, 4)
    candidates = proposer.propose(case, 4, plane=(axis, 4))
    rest = np.ones(case.shape, dtype=bool)
    rest[(slice(None),) * axis + (4,)] = False
    for i, partial in enumerate(candidates.partial):
        assert not partial[rest].any(), "the rest of the volume is untouched"
        assert np.array_equal(partial.take(4, axis), alone.partial[i])
    if axis == 0:
        assert np.array_equal(proposer.propose(case, 4).patches, candidates.patches), "the plane with strokes is found"


def ball_case(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> tuple[ps.Case, np.ndarray]:
    """Return a bright ball of 12 mm in a volume of about 48 mm, with a dab inside and one outside on its middle slice."""
    mm = np.asarray(spacing)
    shape = tuple(int(n) for n in np.round(48 / mm))
    middle = tuple(n // 2 for n in shape)
    truth = ball(shape, middle, 12, mm)
    case = ps.Case(truth * 0.6 + np.random.default_rng(0).normal(0.2, 0.05, shape), spacing=spacing)
    beside = (middle[0], middle[1], min(shape[2] - 2, middle[2] + round(18 / mm[2])))
    return case.mark(
        *(ball(shape, at, 2.5, mm) & (np.indices(shape)[0] == middle[0]) for at in (middle, beside))
    ), truth


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0)], ids=["isotropic", "thick slices"])
def test_candidates_of_a_volume(proposer: CVAEProposer, spacing: tuple[float, float, float]) -> None:
    case, _ = ball_case(spacing)
    candidates = proposer.propose(case, 6, ndim=3)
    assert 0 < len(candidates) <= 6 and candidates.uncertainty().shape == case.shape
    decided = case.partial != ps.Marker.UNKNOWN
    assert all((p[decided] == case.partial[decided]).all() for p in candidates.partial)
    assert any((p == ps.Marker.OBJECT).any((1, 2)).sum() > 1 for p in candidates.partial), (
        "beyond the slice of the dabs"
    )
    assert np.array_equal(candidates.patches, proposer.propose(case, 6, ndim=3).patches)


def test_the_shipped_weights_find_a_ball() -> None:
    case, truth = ball_case()
    candidates = ps.load_proposer(device="cpu").propose(case, 8, ndim=3)
    assert max(ps.metrics.dice(p == ps.Marker.OBJECT, truth) for p in candidates.partial) > 0.7


def test_windows_grow_where_there_is_nothing_to_see() -> None:
    image = ball((600, 600), (300, 300), 120, np.ones(2)) * 0.6  # even around the dab: the close windows show nothing
    case = ps.Case(image).mark(ball(image.shape, (300, 300), 3, np.ones(2)))
    draw = untrained().draw(case, 8, seed=0)
    assert draw.windows[-1].size[0] > 240 and len(draw.windows) == len(draw.object) == len(draw.control)


def test_windows_grow_while_the_samples_reach_out_of_them() -> None:
    case, networks = marked(disk_image((600, 600))), untrained().networks
    config = CVAEConfig(n_windows=2, n_wider_windows=3)
    reaching, contained = (
        CVAEProposer(networks, device="cpu", config=replace(config, max_rim_share=share)) for share in (-1.0, 9.0)
    )
    near, far = (proposer.draw(case, 4, seed=0) for proposer in (contained, reaching))
    assert len(near.windows) == 2 and len(far.windows) == 5 == len(far.object) == len(far.control)
    assert all(a.size < b.size for a, b in pairwise(far.windows))


def test_no_window_in_a_large_volume_is_too_large_to_propose_in() -> None:
    (case, _), networks, config = ball_case(), untrained().networks, CVAEConfig(max_rim_share=-1.0)
    every = CVAEProposer(networks, device="cpu", config=config).draw(case, 2, seed=0).windows
    small = replace(config, max_window_voxels=(1, every[0].n_voxels(case.shape)))
    assert CVAEProposer(networks, device="cpu", config=small).draw(case, 2, seed=0).windows == every[:1]
    assert len(every) > 1


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.stack([disk_image()] * 3, -1), {"channel_axis": -1}),
        (np.stack([disk_image(), 1 - disk_image()]), {"channel_axis": 0}),
        (np.stack([disk_image() * k for k in range(1, 6)]), {"channel_axis": 0}),
        ((disk_image() * 60000).clip(0).astype(np.uint16), {}),
        (disk_image() * 1e-6, {}),
        (disk_image(), {"spacing": (0.5, 2.0)}),
    ],
    ids=["RGB", "two channels", "five channels", "uint16", "tiny contrast", "anisotropic"],
)
def test_any_image_will_do(proposer: CVAEProposer, image: np.ndarray, options: dict[str, object]) -> None:
    assert len(proposer.propose(marked(image, **options), 4)) > 0


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_strokes_on_one_side_are_enough(proposer: CVAEProposer, side: str) -> None:
    case = ps.Case(disk_image())
    stroke = ball(case.shape, (60, 70), 3, np.ones(2))
    candidates = proposer.propose(case.mark(**{side: stroke}), 4)
    assert candidates.case.partial.any()


@pytest.mark.parametrize("shape", [(2, 2), (3, 40), (1, 9, 9), (17, 1000)])
def test_odd_sizes(proposer: CVAEProposer, shape: tuple[int, ...]) -> None:
    case = ps.Case(np.random.default_rng(0).random(shape))
    inside = np.zeros(shape, dtype=bool)
    inside[(0,) * len(shape)] = True
    for partial in proposer.propose(case.mark(inside), 3).partial:
        assert partial.shape == shape


def test_reach_says_how_far_to_grow() -> None:
    network, case = ps.load_proposer("general", device="cpu").networks[2], marked(disk_image(radius=35))
    x = window_input(case, windows_around(case, 1)[0], WINDOW_SIDE[2])[None]
    z = torch.randn(8, network.n_latent, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = network.features(x)
        near, far = (
            float((network.decode(features, z, torch.full((8,), r)).mask > 0).float().mean()) for r in (0.05, 1)
        )
    assert near < 0.5 * far


def test_the_completion_comes_first() -> None:
    case = marked(disk_image(radius=35))
    [whole] = ps.load_completer("general", device="cpu").propose(case).partial
    first = ps.load_proposer("general", device="cpu").propose(case, 8).partial[0]
    assert ps.metrics.dice(first == ps.Marker.OBJECT, whole == ps.Marker.OBJECT) > 0.97


def test_weights_of_an_earlier_release_propose_and_complete(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GeneralConfig(widths=(8, 16, 24), n_head=16, n_latent=4)
    write_weights(
        tmp_path / "mine.safetensors", GeneralCVAE(config).state_dict(), preset="general", config=asdict(config)
    )
    case = marked(disk_image())
    for load in (ps.load_proposer, ps.load_completer):
        candidates = load(tmp_path / "mine.safetensors", device="cpu").propose(case, 2)
        decided = case.partial != ps.Marker.UNKNOWN
        assert all((partial[decided] == case.partial[decided]).all() for partial in candidates.partial)


def test_the_first_day() -> None:
    """The shipped weights find a plain disk among their candidates."""
    truth = np.hypot(*(np.mgrid[:120, :150] - np.array([60, 70])[:, None, None])) < 20
    candidates = ps.load_proposer("general", device="cpu").propose(marked(disk_image()), 8)
    masks = [p == ps.Marker.OBJECT for p in candidates.partial]
    assert max(2 * (m & truth).sum() / (m.sum() + truth.sum()) for m in masks) > 0.9


class TestBadInput:
    def test_no_stroke(self, proposer: CVAEProposer) -> None:
        with pytest.raises(ValueError, match="there is no stroke yet"):
            proposer.propose(ps.Case(disk_image()))

    def test_constant_image(self, proposer: CVAEProposer) -> None:
        with pytest.raises(ValueError, match=r"constant \(3 everywhere\)"):
            proposer.propose(marked(np.full((120, 150), 3.0)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, proposer: CVAEProposer, bad: float) -> None:
        image = disk_image()
        image[60, 80] = bad
        assert len(proposer.propose(marked(image))), "it lies outside of the image"

    @pytest.mark.parametrize(
        ("options", "says"), [({"n": 0}, "n=0"), ({"reach": 0.0}, "reach"), ({"reach": 2}, "reach")]
    )
    def test_arguments(self, proposer: CVAEProposer, options: dict[str, float], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            proposer.propose(marked(disk_image()), **options)

    def test_no_such_plane(self, proposer: CVAEProposer) -> None:
        with pytest.raises(ValueError, match="index 9 of axis 0"):
            proposer.propose(volume(0)[1], plane=(0, 9))

    def test_no_such_weights(self) -> None:
        with pytest.raises(FileNotFoundError, match=r"there are no weights 'nothing'.*general"):
            ps.load_proposer("nothing")
        with pytest.raises(FileNotFoundError, match=r"name one of general, .*, intensities, appearance, or a file"):
            ps.load_completer("nothing")
        with pytest.raises(ValueError, match="'intensities' completes objects, and proposes nothing: try 'general'"):
            ps.load_proposer("intensities")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card here")
    def test_no_cuda(self) -> None:
        with pytest.raises(RuntimeError, match="there is no device 'cuda' here"):
            ps.load_proposer(device="cuda")
        assert chosen_device("auto").type in ("cpu", "mps")

    def test_out_of_gpu_memory_falls_back_to_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        proposer, case = untrained(), marked(disk_image())
        expected = proposer.propose(case, 4)
        working, calls = proposer.networks[2].features, []

        def failing_once(x: torch.Tensor) -> object:
            calls.append(x)
            if len(calls) == 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return working(x)

        monkeypatch.setattr(proposer.networks[2], "features", failing_once)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = proposer.propose(case, 4)
        assert any("no memory left" in str(w.message) for w in caught)
        assert np.array_equal(found.patches, expected.patches)


def test_windows_grow_from_the_marks_to_the_image() -> None:
    windows = windows_around(marked(disk_image((400, 400))), 3)
    sides = [w.size[0] for w in windows]
    assert sides == sorted(sides)
    assert all(w.low[0] <= 57 and w.low[0] + w.size[0] > 63 for w in windows)


@pytest.mark.parametrize("far", range(25, 200, 8))
def test_an_object_that_fills_the_image_is_cut_off_by_no_window_alone(far: int) -> None:
    """However near the closest window comes to the whole image, one more holds all of it."""
    case = ps.Case(np.random.default_rng(0).normal(size=(400, 400)))
    dabs = {side: np.zeros((400, 400), dtype=bool) for side in ("inside", "outside")}
    dabs["inside"][190:211, 190:211] = dabs["outside"][200, 200 - far] = True
    for n in (2, 3, 5):
        windows = windows_around(case.mark(**dabs), n, whole_too=True)
        sides = [window.size[0] for window in windows]
        assert sides == sorted(set(sides)) and len(windows) <= n
        assert max(sides) >= 400 or max(sides) > 2 * min(sides)


def test_window_is_square_in_mm() -> None:
    case = marked(disk_image((400, 400)), spacing=(0.5, 2.0))
    for window in windows_around(case, 3):
        assert window.size[0] * 0.5 == pytest.approx(window.size[1] * 2.0, rel=0.15)


def test_distinct_merges_what_is_alike_and_keeps_the_best() -> None:
    masks = np.zeros((5, 20, 20), dtype=bool)
    masks[:3, 2:10, 2:10] = True
    masks[2, 2, 2] = False
    masks[3, 12:18, 12:18] = True
    masks[4, 2:18, 2:18] = True
    choice = choose_distinct(pairwise_iou(masks), np.array([0.5, 0.9, 0.1, 0.7, 0.3]), 8)
    assert choice.index.tolist() == [1, 3, 4]
    assert choice.share.tolist() == pytest.approx([0.6, 0.2, 0.2])
    assert choose_distinct(pairwise_iou(masks), np.array([0.5, 0.9, 0.1, 0.7, 0.3]), 2).index.tolist() == [1, 3]
    overlap = pairwise_iou(masks)
    assert overlap[0, 2] == pytest.approx(63 / 64)
    assert overlap[0, 2] > MIN_IOU_ALIKE


def test_what_is_kept_is_a_reading_of_its_own_unless_it_is_the_same() -> None:
    masks = np.zeros((3, 20, 20), dtype=bool)
    masks[:, 2:12, 2:12] = True
    masks[1, 2, 2:10] = False  # 0.92 of the first
    masks[2, 2, 2:6] = False  # 0.96
    overlap, score = pairwise_iou(masks), np.array([0.9, 0.8, 0.7])
    assert [choose_distinct(overlap, score, 8, kept=i).index.tolist() for i in (None, 1, 2)] == [[0], [0, 1], [0]]
    far = np.zeros((1, 20, 20), dtype=bool)
    far[0, 14:18, 14:18] = True
    overlap, score = pairwise_iou(np.concatenate([masks, far])), np.array([0.9, 0.8, 0.7, 0.6])
    chosen = [choose_distinct(overlap, score, n, kept=1).index.tolist() for n in (1, 2, 3)]
    assert chosen == [[0], [0, 1], [0, 1, 3]], "however far away others are"


def test_channels_become_three() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 7):
        assert with_channels(rng.random((n, 8, 9)).astype(np.float32), 3).shape == (3, 8, 9)

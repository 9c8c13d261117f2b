"""Losses of segmentations with several labels."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_probseg.training.losses import (
    LabelLoss,
    deep_supervision,
    dice_cross_entropy,
    foreground_iou_loss,
    jaccard_distance,
    multiclass_dice_loss,
    multiclass_jaccard_distance,
    soft_dice_loss,
)

OVERLAP = [multiclass_dice_loss, multiclass_jaccard_distance, foreground_iou_loss]


def sure_of(label: Tensor, n_labels: int = 3) -> Tensor:
    """Return logits (B, L, ...) that leave no doubt."""
    return 60.0 * F.one_hot(label, n_labels).movedim(-1, 1).float()


TRUTH = torch.tensor([[[0, 0, 1, 1], [2, 2, 1, 0]], [[1, 1, 2, 2], [0, 0, 0, 2]]])


@pytest.mark.parametrize("loss", [*OVERLAP, dice_cross_entropy])
def test_zero_for_the_truth(loss: LabelLoss) -> None:
    assert loss(sure_of(TRUTH), TRUTH).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("loss", OVERLAP)
def test_one_for_what_shares_no_voxel(loss: LabelLoss) -> None:
    assert loss(sure_of((TRUTH + 1) % 3), TRUTH).item() == pytest.approx(1, abs=1e-3)


def test_binary_jaccard_is_one_minus_intersection_over_union() -> None:
    prediction = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0]])
    truth = torch.tensor([[0.0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    assert jaccard_distance(prediction, truth) == pytest.approx([1 - 1 / 3, 0, 1 - 0.5 / 1], abs=1e-3)
    assert jaccard_distance(1 - truth, truth)[0] == pytest.approx(1, abs=1e-3)


def test_values_by_hand() -> None:
    # Two voxels, labels 0 and 1; probabilities (0.75, 0.25) and (0.5, 0.5).
    logits = torch.tensor([[[0.75, 0.5], [0.25, 0.5]]]).log()
    truth = torch.tensor([[0, 1]])
    background, foreground = 0.75 / (1 + 0.5), 0.5 / (0.25 + 1)
    assert multiclass_jaccard_distance(logits, truth).item() == pytest.approx(
        1 - (background + foreground) / 2, abs=1e-5
    )
    assert multiclass_dice_loss(logits, truth).item() == pytest.approx(1 - 2 * 0.5 / (1 + 0.75), abs=1e-3)
    assert foreground_iou_loss(logits, truth).item() == pytest.approx(1 - 0.5 / (1 + 0.75 - 0.5), abs=1e-3)
    entropy = -(torch.tensor(0.75).log() + torch.tensor(0.5).log()).item() / 2
    dice = multiclass_dice_loss(logits, truth).item()
    assert dice_cross_entropy(logits, truth).item() == pytest.approx(entropy + dice, abs=1e-5)


def test_jaccard_gives_rare_labels_their_weight_and_absent_ones_none() -> None:
    truth = torch.zeros(1, 1000, dtype=torch.long)
    truth[0, 0] = 1
    missed = multiclass_jaccard_distance(sure_of(torch.zeros_like(truth)), truth).item()
    assert missed == pytest.approx((1 / 1000 + 1) / 2, abs=1e-3), "one voxel of a thousand is half of the loss"
    assert multiclass_jaccard_distance(sure_of(truth), truth).item() == pytest.approx(0, abs=1e-6), (
        "the third is absent"
    )


def test_multiclass_dice_is_that_of_each_label() -> None:
    logits = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    each = [
        soft_dice_loss(logits.softmax(1)[:, label].flatten()[None], (label == TRUTH).float().flatten()[None])
        for label in (1, 2)
    ]
    assert multiclass_dice_loss(logits, TRUTH).item() == pytest.approx(torch.stack(each).mean().item(), abs=1e-5)


@pytest.mark.parametrize("loss", [*OVERLAP, dice_cross_entropy])
def test_gradient_is_finite_where_there_is_no_foreground(loss: LabelLoss) -> None:
    for logits in (sure_of(torch.zeros_like(TRUTH)), torch.zeros(2, 3, 2, 4)):
        logits.requires_grad_()
        loss(logits, torch.zeros_like(TRUTH)).backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_deep_supervision_weighs_the_finest_map_most() -> None:
    small = TRUTH[:, ::2, ::2]
    truth = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    fine, wrong_fine, coarse, wrong_coarse = (sure_of(t) for t in (truth, (truth + 1) % 3, small, (small + 1) % 3))
    losses = [
        deep_supervision(multiclass_jaccard_distance, maps, truth).item()
        for maps in ([fine, coarse], [fine, wrong_coarse], [wrong_fine, coarse], [wrong_fine, wrong_coarse])
    ]
    assert losses == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-3)

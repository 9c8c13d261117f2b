"""The comparisons of the papers of the U-Nets as values: networks that differ in one thing, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from napari_probseg.nn.unet import AVETISIAN2018, ISENSEE2017, KAYALIBAY2017, NNUNET2018, UNetConfig
from napari_probseg.reproduce.findings import Finding

N_TEST = 12  # images of the test part that are measured, unless a comparison says otherwise
DEFAULT_PATCH = {2: (96, 96), 3: (20, 20, 20)}  # voxels along each axis, for images and volumes


@dataclass(frozen=True)
class Arm:
    """One row of a table.

    Parameters
    ----------
    network : UNetConfig
    loss : str
        A key of `napari_probseg.training.segmentation.LOSSES`.
    augment : bool
    """

    network: UNetConfig
    loss: str
    augment: bool = False


@dataclass(frozen=True)
class Comparison:
    """One table: the arms that a question is answered by, and what the paper found.

    Parameters
    ----------
    name : str
        Of the folder that keeps the arms' figures.
    question : str
    data : str
        The end of the data set's folder.
    arms : mapping of str to Arm
        Each differs from the first in one thing.
    findings : tuple of Finding
    label : str
        The one that is learnt and scored; if empty all are learnt, and their mean is scored.
    published : str
        The paper's own figure of the first arm, where it is known for certain.
    patch : tuple of int
        Voxels that are trained on, and predicted in, as nnU-Net does: the statistics of instance norm are a patch's.
        If empty, it is trained on `DEFAULT_PATCH` and the image is predicted as a whole.
    is_halved : bool
        Whether the images are taken at half of their resolution, so that a patch shows what lies around a part.
    learning_rate : float
        At the rate of the others, networks without a norm die, and Jaccard distance ends at finding no rare label.
    n_steps : int
        Of training of each arm, until the better ones hardly improve.
    n_seeds : int
        How often each arm is trained.
    n_folds : int
        Above 1 an arm is as many networks (Isensee et al. 2018): each is trained on all folds of the training part but
        one, and measured on that one; the test part gets the mean of their probabilities.
    n_test : int
        Images of the test part that are measured, at most.
    """

    name: str
    question: str
    data: str
    arms: Mapping[str, Arm]
    findings: tuple[Finding, ...] = ()
    label: str = ""
    published: str = ""
    patch: tuple[int, ...] = ()
    is_halved: bool = False
    learning_rate: float = 3e-3
    n_steps: int = 2000
    n_seeds: int = 3
    n_folds: int = 1
    n_test: int = N_TEST

    def trained_patch(self, ndim: int) -> tuple[int, ...]:
        """Return the voxels of a patch that is trained on, along each of ``ndim`` axes."""
        return self.patch or DEFAULT_PATCH[ndim]


def _small(config: UNetConfig, first: int = 6, *, n_levels: int = 3) -> UNetConfig:
    """Return few levels of few channels, which train in a minute."""
    return replace(config, widths=tuple(first * 2**i for i in range(n_levels)))


_KAYALIBAY, _NNUNET, _ISENSEE = _small(KAYALIBAY2017), _small(NNUNET2018), _small(ISENSEE2017)
_AVETISIAN = _small(AVETISIAN2018, 9)

_OF_IMAGES = _small(KAYALIBAY2017, n_levels=4)  # parts of the heart are told apart by what lies far away
_JACCARD_OR_ENTROPY = {
    "Jaccard distance": Arm(_OF_IMAGES, "jaccard", augment=True),
    "cross-entropy": Arm(_OF_IMAGES, "cross_entropy", augment=True),
}


def _of_hippocampus(claim: str, worse: str, change: str) -> Finding:
    """Return what nnU-Net's ablation says of an arm on the hippocampus; ``change`` is that of the Dice of 0.89."""
    return Finding(claim, "nnU-Net", worse, f"{worse}: {change} of 0.89")


COMPARISONS: dict[str, tuple[Comparison, ...]] = {
    "kayalibay2017": (
        Comparison(
            "rare",
            "Jaccard distance or cross-entropy, where labels are rare?",
            "BrainHaemorrhageCT",
            _JACCARD_OR_ENTROPY,
            is_halved=True,
            learning_rate=1e-3,
            n_steps=1000,
            findings=(
                Finding(
                    "Jaccard distance finds rare labels far better than cross-entropy (haemorrhages)",
                    "Jaccard distance",
                    "cross-entropy",
                ),
            ),
        ),
        Comparison(
            "labels",
            "And where several labels share the image?",
            "HeartMRI",
            _JACCARD_OR_ENTROPY,
            is_halved=True,
            learning_rate=1e-3,
            n_steps=1000,
            findings=(
                Finding(
                    "Jaccard distance serves several labels better than cross-entropy (eight parts of the heart)",
                    "Jaccard distance",
                    "cross-entropy",
                ),
            ),
        ),
        Comparison(
            "choices",
            "What do its choices bring in 3-D?",
            "Hippocampus",
            {
                "Kayalibay 2017": Arm(_KAYALIBAY, "jaccard"),
                "skips summed": Arm(replace(_KAYALIBAY, skip="sum"), "jaccard"),
                "no skips": Arm(replace(_KAYALIBAY, skip="none"), "jaccard"),
                "one segmentation map": Arm(replace(_KAYALIBAY, n_maps=1), "jaccard"),
                "cross-entropy": Arm(_KAYALIBAY, "cross_entropy"),
            },
            findings=(
                Finding("long skips concatenated beat summed ones, slightly", "Kayalibay 2017", "skips summed"),
                Finding("long skips beat none, clearly", "Kayalibay 2017", "no skips"),
                Finding(
                    "maps of several scales cost nothing in the end (they converge faster)",
                    "Kayalibay 2017",
                    "one segmentation map",
                    alike=True,
                ),
                Finding("Jaccard distance beats cross-entropy (two labels)", "Kayalibay 2017", "cross-entropy"),
            ),
        ),
    ),
    "nnunet2018": (
        Comparison(
            "choices",
            "What do its choices bring?",
            "Hippocampus",
            {
                "nnU-Net": Arm(_NNUNET, "dice_cross_entropy"),
                "batch norm": Arm(replace(_NNUNET, norm="batch"), "dice_cross_entropy"),
                "no norm": Arm(replace(_NNUNET, norm="none"), "dice_cross_entropy"),
                "ReLU": Arm(replace(_NNUNET, activation="relu"), "dice_cross_entropy"),
                "Dice alone": Arm(_NNUNET, "dice"),
                "cross-entropy alone": Arm(_NNUNET, "cross_entropy"),
                "augmentation": Arm(_NNUNET, "dice_cross_entropy", augment=True),
            },
            patch=(24, 24, 24),
            n_steps=1000,
            findings=(
                _of_hippocampus("instance norm beats batch norm", "batch norm", "-0.1 %"),
                _of_hippocampus("instance norm beats none", "no norm", "-0.2 %"),
                _of_hippocampus("leaky ReLU beats ReLU", "ReLU", "-0.1 %"),
                _of_hippocampus("Dice with cross-entropy beats Dice alone", "Dice alone", "-0.3 %"),
                Finding(
                    "Dice with cross-entropy and cross-entropy alone serve alike on the hippocampus",
                    "nnU-Net",
                    "cross-entropy alone",
                    "cross-entropy alone: 0 % of 0.89",
                    alike=True,
                ),
                Finding("augmentation helps", "augmentation", "nnU-Net", "without it: -1.5 % of 0.89"),
            ),
        ),
        Comparison(
            "hippocampus",
            "How far does it get on the hippocampus, somewhat wider, and as five networks of five folds?",
            "Hippocampus",
            {"nnU-Net": Arm(_small(NNUNET2018, 10), "dice_cross_entropy", augment=True)},
            patch=(32, 48, 32),
            n_steps=800,
            n_seeds=1,
            n_folds=5,
            n_test=1000,
            published="Dice 0.89, of the full network",
        ),
    ),
    "avetisian2018": (
        Comparison(
            "factorised",
            "Flat convolutions along the axes, or full ones?",
            "Hippocampus",
            {
                "factorised": Arm(_AVETISIAN, "iou"),
                "full": Arm(replace(_AVETISIAN, factorised=False), "iou"),
                "factorised, cross-entropy": Arm(_AVETISIAN, "cross_entropy"),
                "factorised, batch norm": Arm(replace(_AVETISIAN, norm="batch"), "iou"),
            },
            learning_rate=1e-3,
            findings=(
                Finding("flat convolutions serve as well as full ones", "factorised", "full", alike=True),
                Finding("IoU loss beats cross-entropy", "factorised", "factorised, cross-entropy"),
                Finding("batch norm hurts", "factorised", "factorised, batch norm"),
            ),
        ),
        Comparison(
            "ventricle",
            "The left ventricle, in MRI",
            "HeartMRI",
            {"Avetisian 2018": Arm(_small(AVETISIAN2018, 9, n_levels=4), "iou", augment=True)},
            is_halved=True,
            n_steps=1000,
            learning_rate=1e-3,
            label="left ventricle",
            published="IoU 0.63 (83 volumes)",
        ),
    ),
    "isensee2017": (
        Comparison(
            "choices",
            "What do its choices bring?",
            "Hippocampus",
            {
                "Isensee 2017": Arm(_ISENSEE, "dice"),
                "one segmentation layer": Arm(replace(_ISENSEE, n_maps=1), "dice"),
                "no residual blocks": Arm(replace(_ISENSEE, residual=False, dropout=0.0), "dice"),
                "no dropout": Arm(replace(_ISENSEE, dropout=0.0), "dice"),
            },
            patch=(24, 24, 24),
            n_steps=1000,
            findings=(
                Finding("several segmentation layers help", "Isensee 2017", "one segmentation layer"),
                Finding("residual context blocks help", "no dropout", "no residual blocks"),
                Finding("spatial dropout helps", "Isensee 2017", "no dropout"),
            ),
        ),
    ),
}

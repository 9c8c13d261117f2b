"""What the advisers reckon with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdviserConfig:
    """What the advisers reckon with; intensities are in standard deviations of the window, lengths in its voxels.

    Parameters
    ----------
    step, edge : float
        Geodesic cost of a voxel, and of an edge of one standard deviation.
    geodesic_scale, watershed_scale : float
        Difference of the two sides' costs, of the watershed that of their logarithms, at which an adviser is rather
        sure (tanh 1).
    watershed_step, watershed_power : float
        Height of flat ground, and the power whose sum stands for the largest height of a way.
    n_rounds : int
        Raster scans along every axis, forwards and backwards, on half of the resolution.
    full_scan : bool
        Whether one more is made on the full resolution.
    walker_edge : float
        beta of Grady (2006) for intensities in standard deviations.
    n_walker_steps : int
        Steps of conjugate gradients, on half of the resolution.
    appearance_stride : int
        Voxels to a place on the grid that appearance is looked at.
    n_levels : int
        Scales of the appearance: averages over 1, 2, 4, ... of these places.
    place : float
        How much the place counts among the features; the rest have a standard deviation of about 1.
    curvatures : bool
        Whether the Hessian is looked at, too.
    squares : bool
        Whether the squares of these features are features, too: for what is neither bright nor dark.
    ridge : float
        Penalty of the appearance's logistic regression.
    n_newton_steps : int
    n_marked : int
        Marked voxels on each side that the appearance is learnt from, at most.
    rest_side, rest_weight : int, float
        Unmarked places along each side of the window that are learnt from as outside, too, where the object is
        guessed, and how much they count beside the marks outside.
    n_rest_rounds : int
        How often those that look like the object are believed less, and it is learnt anew.
    """

    step: float = 0.05
    edge: float = 8.0
    geodesic_scale: float = 4.0
    watershed_scale: float = 0.15
    watershed_step: float = 0.01
    watershed_power: float = 6.0
    n_rounds: int = 1
    full_scan: bool = True
    walker_edge: float = 100.0
    n_walker_steps: int = 30
    appearance_stride: int = 2
    n_levels: int = 4
    place: float = 0.5
    curvatures: bool = True
    squares: bool = False
    ridge: float = 0.3
    n_newton_steps: int = 5
    n_marked: int = 96
    rest_side: int = 32
    rest_weight: float = 0.8
    n_rest_rounds: int = 1

"""The mask of least energy that agrees with the markers, found exactly (Boykov & Jolly 2001; DESIGN 2.2).

    E(Y) = sum_i R_i + smoothness * sum_ij B_ij

R_i = -log P(label of i), and where neighbours i, j differ B_ij = exp(-d_ij^2 / (2 sigma^2)) / r_ij, with d_ij^2 the
squared difference of intensity (the mean over channels) and r_ij their distance in units of the finest spacing, so
that the nearest neighbours on a flat image have B = 1.
"""

from napari_probseg.graph_cut.cutter import Cutter, cut, energy
from napari_probseg.graph_cut.links import noise_of

__all__ = ["Cutter", "cut", "energy", "noise_of"]

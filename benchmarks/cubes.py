"""Cubes of 128 voxels a side around objects of data sets, of their training parts."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

import napari_probseg as ps
from napari_probseg.dataset.raw import LabelledImage

SIDE = 128


def cube(labelled: LabelledImage) -> tuple[ps.Case, np.ndarray]:
    """Return the cube around the object of medium size in a case, and that object."""
    labels, counts = np.unique(labelled.label[labelled.label > 0], return_counts=True)
    truth = labelled.label == labels[np.argsort(counts)[len(counts) // 2]]
    zoom = [max(1.0, SIDE / n) for n in truth.shape]
    image = ndimage.zoom(labelled.image[0], zoom, order=1)
    truth = ndimage.zoom(truth.astype(np.uint8), zoom, order=0) > 0
    low = [
        int(np.clip(round(middle) - SIDE // 2, 0, n - SIDE))
        for middle, n in zip(ndimage.center_of_mass(truth), truth.shape, strict=True)
    ]
    where = tuple(slice(start, start + SIDE) for start in low)
    spacing = [mm / factor for mm, factor in zip(labelled.spacing, zoom, strict=True)]
    return ps.Case(np.ascontiguousarray(image[where]), spacing=spacing), np.ascontiguousarray(truth[where])

"""Unaries: P(object) of each voxel from the strokes alone, without a trained network."""

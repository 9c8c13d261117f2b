"""Evaluation of interactive segmentation: objects, simulated annotator, methods, tables."""

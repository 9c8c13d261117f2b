"""Inference: from a case to a network's input and back, at several scales, with distinct samples."""

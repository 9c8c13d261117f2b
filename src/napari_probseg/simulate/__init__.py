"""Simulation: synthetic images, label maps and strokes, and a simulated annotator."""

"""Active learning: train on finished images, validate on held-out ones, adopt or go back, acquire the next image."""

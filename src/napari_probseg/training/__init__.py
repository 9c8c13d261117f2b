"""Training: losses, crops, augmentation, and the training loop."""

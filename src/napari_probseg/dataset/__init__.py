"""Data sets in the nnU-Net v2 raw format: read, grown by finished images, exchanged."""

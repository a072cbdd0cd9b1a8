"""Weights in a file: read without running anything that the file says."""

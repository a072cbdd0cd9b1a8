"""LOS: the loss, its input and its target."""

"""Checks of the file of weights."""

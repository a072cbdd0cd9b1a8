"""Checks of segmentation masks: their values, how they were stored, what belongs together, what they show."""

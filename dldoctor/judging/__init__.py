"""Checks at work on facts: one by one, or part by part of a fact that can be divided, side by side and remembered."""

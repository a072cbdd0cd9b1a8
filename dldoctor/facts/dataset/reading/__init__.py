"""Readers of annotation files. Only layouts import them, when they need them: they may load polars and msgspec."""

"""Checks of `dldoctor code`: pitfalls in training source, found in the text alone."""

"""Checks of `dldoctor model`: shapes, graph, initialisation."""

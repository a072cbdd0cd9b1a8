"""Checks of `dldoctor env`: the machine, its GPU and its packages."""

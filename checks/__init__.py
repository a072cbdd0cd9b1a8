"""The catalogue: one function per pitfall, facts in, findings out. Imported as `dldoctor.checks`."""

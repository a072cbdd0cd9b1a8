"""Reports: one file per format, one per kind of evidence."""

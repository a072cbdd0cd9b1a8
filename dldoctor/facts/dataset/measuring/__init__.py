"""Worker side: what is measured on one file. Nothing here is imported by the parent; any change makes old cache entries stale."""

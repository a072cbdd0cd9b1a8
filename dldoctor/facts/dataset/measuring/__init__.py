"""Worker side: what is measured on one file. These modules run in the decoding processes, and any change to them makes
the measurements in the cache stale."""

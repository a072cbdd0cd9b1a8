"""Facts: what was measured, one module or folder per subject, each fact with its gatherer."""

"""A training step traced without memory, and replayed through a copy of the GPU's caching allocator."""

"""Facts from real items and real steps: what a loader delivers, what a short training does."""

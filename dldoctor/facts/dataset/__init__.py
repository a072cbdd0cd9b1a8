"""Facts about a dataset on disk: its layout, its pictures, masks, labels and splits."""

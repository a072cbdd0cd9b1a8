"""Facts about Python source text: names, scopes, what values are and how they flow. Nothing is run."""

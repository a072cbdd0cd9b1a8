"""One module per form that weights are stored in; none of them runs what a file says."""

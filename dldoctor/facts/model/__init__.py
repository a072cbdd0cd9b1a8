"""Facts about a network, its loss and its memory, measured in a child process without running a training."""

"""What the child measures on a network, as plain records; both sides of the pipe know these types."""

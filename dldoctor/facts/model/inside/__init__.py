"""What runs inside the child, beside the user's network: needs the standard library, numpy and torch alone."""

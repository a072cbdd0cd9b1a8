"""What happens in source, read in the order of its effects: values, roles, loops, modes, and the events they leave."""

"""Names and arguments as the packages of the field spell them today, and spelled before."""

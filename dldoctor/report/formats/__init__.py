"""One module per format: `ENDING` (the file ending it is chosen by) and `render(report, look) -> str`."""

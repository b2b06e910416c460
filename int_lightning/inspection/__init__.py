"""Training rows to look at: in the terminal, and as one HTML page."""

"""Final answers read and compared by their values."""

"""Where a model comes from: the shipped one, a Python package, a folder or the hub."""

"""pass@k of a model on problem sets, with intervals."""

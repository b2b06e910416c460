"""Supervised fine-tuning: a collection's records as rows with weighted spans, and the patched policy."""

"""Prompt templates as text files, and their token ids."""

"""The folder of a run: its lock, the settings it was made with, and its checkpoints."""

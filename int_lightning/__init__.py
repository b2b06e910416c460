"""int-lightning: train reasoning models by interventions (InT)."""

__version__ = "0.1.0"

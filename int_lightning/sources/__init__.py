"""Where problems come from: files, the Hugging Face hub, reasoning-gym and the mini world; one by one or as a pool."""

from int_lightning.sources.config import Quarantined, SourceConfig, Sources, own_attempts
from int_lightning.sources.pool import Pool, PoolSummary, open_pool
from int_lightning.sources.reading import load_problems, read

__all__ = [
    "Pool",
    "PoolSummary",
    "Quarantined",
    "SourceConfig",
    "Sources",
    "load_problems",
    "open_pool",
    "own_attempts",
    "read",
]

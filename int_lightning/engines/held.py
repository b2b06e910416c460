"""The one engine that a process holds."""

from __future__ import annotations

from int_lightning.engines.base import Engine, EngineConfig


class HeldEngine:
    """At most one engine, and what it was started with. ``tokens_generated`` counts those of closed engines too."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self._started_with: tuple[EngineConfig, int] | None = None
        self._tokens_of_closed = 0

    def takes(self, config: EngineConfig, lora_rank: int) -> bool:
        """Whether the engine fits, as it is: started with this configuration, and without adapters."""
        return lora_rank == 0 and self._started_with == (config, 0)

    def hold(self, engine: Engine, config: EngineConfig, lora_rank: int) -> None:
        """Holds an engine that was just started, after ``close``."""
        self.engine = engine
        self._started_with = config, lora_rank

    def close(self) -> None:
        """Closes the engine, if there is one."""
        if self.engine is not None:
            self._tokens_of_closed += self.engine.tokens_generated
            self.engine.close()
        self.engine = self._started_with = None

    @property
    def tokens_generated(self) -> int:
        """Tokens that all engines of this process have generated."""
        return self._tokens_of_closed + (0 if self.engine is None else self.engine.tokens_generated)

"""Many callers, one engine: coroutines ask for completions, and the engine decodes all of them side by side.

``Engine.generate`` ends with the slowest completion of its list, while the engine is nearly empty. Here each caller waits only
for its own completions, and its next request joins the running batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from int_lightning.engines.base import Engine
from int_lightning.types import Completion, Sampling


@dataclass(slots=True)
class _Asked:
    completions: list[Completion | None]
    missing: int
    done: asyncio.Future[None]


class EngineLoop:
    """Steps an engine while any coroutine of the running event loop waits for it. Completions requested from an earlier loop that
    ended before they came are dropped.

    Args:
        engine: Not to be used by anyone else in the meantime.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._waiting: dict[int, tuple[_Asked, int]] = {}
        self._stepping: asyncio.Task[None] | None = None

    async def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        structures: Sequence[str | None] | None = None,
    ) -> list[Completion]:
        """See ``Engine.generate``, and ``Engine.submit`` for structures. An error of the engine reaches every waiting caller."""
        if not prompts:
            return []
        asked = _Asked([None] * len(prompts), len(prompts), asyncio.get_running_loop().create_future())
        structures = structures or [None] * len(prompts)
        for i, (prompt, seed, structure) in enumerate(zip(prompts, seeds, structures, strict=True)):
            self._waiting[self.engine.submit(prompt, sampling, seed, structure)] = (asked, i)
        if self.idle:
            self._stepping = asyncio.create_task(self._step())
        await asked.done
        return [c for c in asked.completions if c is not None]

    @property
    def idle(self) -> bool:
        """Whether no coroutine waits for the engine."""
        return self._stepping is None or self._stepping.done()

    def _drop_cancelled(self) -> bool:
        """Forgets callers that were cancelled; returns whether any are left."""
        self._waiting = {n: (asked, i) for n, (asked, i) in self._waiting.items() if not asked.done.cancelled()}
        return bool(self._waiting)

    async def _step(self) -> None:
        try:
            while self._drop_cancelled():
                for number, completion in self.engine.step():
                    if number not in self._waiting:
                        continue
                    asked, i = self._waiting.pop(number)
                    asked.completions[i] = completion
                    asked.missing -= 1
                    if not asked.missing and not asked.done.done():
                        asked.done.set_result(None)
                await asyncio.sleep(0)
        except Exception as error:
            waiting, self._waiting = self._waiting, {}
            for asked, _ in waiting.values():
                if not asked.done.done():
                    asked.done.set_exception(error)

"""How near a whole collection comes to the engine's own speed: its tokens per second beside those of the bare engine.

    python -m benchmarks.collection -c configs/mini/collect.yaml
    python -m benchmarks.collection -c configs/smollm2/collect.yaml --problems PATH.jsonl --limit 32

The collection is that of ``int-lightning collect`` with this config, from reading the problems to the statistics; the engine
has started before. Then the same engine gets every prompt of the collection at once, with the same sampling and seeds, and does
nothing else. Both are repeated in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser

from benchmarks.machine import Neighbours, device_name
from int_lightning.collect.command import StagesBuilder
from int_lightning.collect.config import CollectConfig
from int_lightning.collect.pipeline import Collector
from int_lightning.collect.stages import ProblemStages
from int_lightning.collect.statistics import collection_statistics
from int_lightning.collect.store import Store
from int_lightning.collect.summary import summarise
from int_lightning.console import say, show_table
from int_lightning.engines.base import Engine, EngineConfig
from int_lightning.oracles.base import Oracle
from int_lightning.sources.pool import open_pool
from int_lightning.types import Completion


@dataclass
class RecordingEngine:
    """An engine that remembers what it was asked."""

    engine: Engine
    requests: list[tuple[Any, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.engine, name)

    def submit(self, *request: Any) -> int:
        self.requests.append(request)
        return self.engine.submit(*request)


def main() -> None:
    """Measures, prints a table and, with ``--out``, keeps the figures as JSON."""
    given = arguments()
    build, problems, limit = given.build, given.problems, given.limit
    neighbours = Neighbours()
    torch.set_num_threads(build.engine.threads or torch.get_num_threads())
    stages = build()
    recording = RecordingEngine(stages.sampler.engine)
    stages.sampler.engine = recording
    rows = []
    with stages.sampler.grader:
        for _ in range(given.repeats):
            recording.requests.clear()
            forget(recording.engine)
            tokens, seconds = collect(stages, problems, limit, build)
            forget(recording.engine)
            bare_tokens, bare_seconds = generate(recording.engine, recording.requests)
            rows.append({"collect": tokens / seconds, "bare": bare_tokens / bare_seconds, "tokens": tokens})
            say(f"collect {tokens} tokens in {seconds:.1f} s, bare engine {bare_tokens} in {bare_seconds:.1f} s")
    ratios = [row["collect"] / row["bare"] for row in rows]
    names = [build.model, f"{limit or 'all'}", f"{rows[0]['tokens']:,}"]
    rates = [f"{statistics.median(row[name] for row in rows):,.0f}" for name in ("collect", "bare")]
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    columns = ["model", "problems", "tokens", "collect, tokens/s", "bare engine, tokens/s", "ratio"]
    show_table(f"Collection on {device_name('cpu')}; {neighbours.note()}", columns, [[*names, *rates, spread]])
    if given.out:
        record = {"machine": device_name("cpu"), "model": build.model, "neighbours": neighbours.note(), "runs": rows}
        given.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def collect(stages: ProblemStages, problems: str, limit: int | None, build: StagesBuilder) -> tuple[int, float]:
    """Tokens generated, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "dataset")
        before, began = stages.sampler.engine.tokens_generated, time.perf_counter()
        Collector(store, build.config.batch_problems).run(stages, open_pool([problems], limit), lambda work: None)
        summarise(store)
        collection_statistics(store, {})
        return stages.sampler.engine.tokens_generated - before, time.perf_counter() - began


def generate(engine: Engine, requests: Sequence[tuple[Any, ...]]) -> tuple[int, float]:
    """The same for the engine alone."""
    before, began = engine.tokens_generated, time.perf_counter()
    waiting = {engine.submit(*request) for request in requests}
    ended: list[Completion] = []
    while waiting:
        for number, completion in engine.step():
            waiting.remove(number)
            ended.append(completion)
    return engine.tokens_generated - before, time.perf_counter() - began


def forget(engine: Engine) -> None:
    """Empties the cache of prefixes."""
    engine._llm.reset_prefix_cache()


def arguments() -> argparse.Namespace:
    """The command line, and the config's classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--problems")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    config = yaml.safe_load(given.config.read_text(encoding="utf-8"))
    classes = ArgumentParser()
    classes.add_argument("--oracle", type=Oracle)
    classes.add_class_arguments(CollectConfig, "collection")
    classes.add_class_arguments(EngineConfig, "engine")
    keys = {key: config[key] for key in ("oracle", "collection", "engine")}
    made = classes.instantiate(classes.parse_object(keys))
    given.problems = given.problems or config["problems"]
    given.build = StagesBuilder(config["model"], config["prompts"], made.oracle, made.collection, made.engine, seed=0)
    return given


if __name__ == "__main__":
    main()

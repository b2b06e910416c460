"""The command ``collect``: from a pool of problems to a dataset, and what it came to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape

from int_lightning.collect.build import StagesBuilder
from int_lightning.collect.categories import ErrorCategory
from int_lightning.collect.pipeline import Collector
from int_lightning.collect.plan import plan
from int_lightning.collect.problem import Work
from int_lightning.collect.ray_executor import run_on_ray
from int_lightning.collect.statistics import collection_statistics, plot_statistics
from int_lightning.collect.store import Store
from int_lightning.collect.summary import show_conditioning, summarise
from int_lightning.console import progress, say, show_table, show_text
from int_lightning.learn.pretrained import resolve_model
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.prompts import PromptSet
from int_lightning.prompts.tokenizers import record_tokenizer
from int_lightning.results import RESULTS, write_json
from int_lightning.sources import Pool

_ROWS_NAMED = 10


def collect_interventions(
    out: Path, pool: Pool, build: StagesBuilder, executor: Literal["local", "ray"], actors: int, total: int | None
) -> dict[str, Any]:
    """Collects into ``out/dataset``; see ``finish_collection`` for what it writes besides and returns.

    Args:
        out: The run's folder.
        pool: The problems.
        build: Makes the stages where they are to run.
        executor: In this process, or on a Ray cluster.
        actors: Engines of the cluster.
        total: Problems at most, for the display.
    """
    store = Store(out / "dataset")
    store.begin()
    (out / RESULTS).unlink(missing_ok=True)
    record_tokenizer(store.folder, load_tokenizer(resolve_model(build.model)), build.model)
    collector = Collector(store, build.config.batch_problems)
    with progress("collect", total, "problems") as advance:
        began, tokens = time.perf_counter(), 0

        def ended(work: Work) -> None:
            nonlocal tokens
            tokens += work.outcome.tokens
            advance(1, f"{tokens / (time.perf_counter() - began):,.0f} rollout tokens/s")

        if executor == "ray":
            run_on_ray(collector, build, pool, ended, actors)
        else:
            stages = build()
            with stages.sampler.grader:
                collector.run(stages, pool, ended)
    return finish_collection(out, store, pool)


def finish_collection(out: Path, store: Store, pool: Pool) -> dict[str, Any]:
    """Writes ``out/collection.json``, ``out/plots`` and ``out/results.json``, whose presence says that the collection came to
    its end, shows the summary and returns it."""
    _show_left_out(pool)
    summary = summarise(store)
    categories = {c.proposal_id: c.category for c in store.read("categories", ErrorCategory)}
    statistics = collection_statistics(store, categories)
    write_json(out / "collection.json", {**summary, "statistics": statistics, "pool": pool.summary.as_dict()})
    plots = plot_statistics(statistics, out / "plots")
    write_json(out / RESULTS, summary)
    counts = [[k, str(v)] for k, v in summary.items() if isinstance(v, int)]
    counts += [[f"rejected: {reason}", str(n)] for reason, n in summary["rejected"].items()]
    show_table(f"Interventions in {out}", ["", "count"], counts)
    show_conditioning(summary["conditioning"])
    say(escape(f"statistics: {out / 'collection.json'}, plots: {', '.join(p.name for p in plots)} in {out / 'plots'}"))
    return summary


def show_plan(pool: Pool, build: StagesBuilder) -> dict[str, Any]:
    """Counts what a collection would do, shows it and returns it; no engine is started."""
    tokenizer = load_tokenizer(resolve_model(build.model))
    found = plan(pool, tokenizer, PromptSet(build.prompts), build.config, build.attempts, build.oracle)
    total = pool.summary.total
    say(
        f"{found.problems} problems of {total.rows} rows: {sum(total.quarantined.values())} rows cannot be used, "
        f"{total.exact_duplicates} exact and {total.near_duplicates} near duplicates, {total.contaminated} of benchmarks"
    )
    _show_left_out(pool)
    for name, text in found.prompts.items():
        say(f"[bold]prompt `{name}` of the first problem:[/]")
        show_text(text)
    say(f"the longest `solve` prompt has {found.longest_prompt} tokens")
    columns = ["stage", "completions", "prompt tokens", "generated tokens"]
    rows = [[s.name, *(f"{n:,}" for n in (s.completions, s.prompt_tokens, s.generated_tokens))] for s in found.stages]
    show_table("At most: every problem hard, nothing rejected, nothing cached", columns, rows)
    return {"plan": found.as_dict(), "pool": pool.summary.as_dict()}


def _show_left_out(pool: Pool) -> None:
    """Names the first rows that cannot be used and the first problems that are benchmark items."""
    summary = pool.summary
    bad, known = sum(summary.total.quarantined.values()), len(summary.contaminated)
    for row in summary.quarantined[:_ROWS_NAMED]:
        say(f"[yellow]left out:[/] {escape(str(row))}")
    if bad > _ROWS_NAMED:
        say(f"[yellow]left out:[/] {bad - _ROWS_NAMED} more rows that cannot be used")
    for problem in summary.contaminated[:_ROWS_NAMED]:
        item = escape(f"{problem.source}: {problem.id} is {problem.item.id} of {problem.item.source}")
        say(f"[yellow]left out:[/] {item}")
    if known > _ROWS_NAMED:
        say(f"[yellow]left out:[/] {known - _ROWS_NAMED} more problems of benchmarks")

"""The command ``collect``: from a pool of problems to a dataset, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape

from int_lightning.collect.categories import ErrorCategory
from int_lightning.collect.config import CollectConfig
from int_lightning.collect.pipeline import Collector, known_problems
from int_lightning.collect.plan import plan
from int_lightning.collect.ray_executor import run_on_ray
from int_lightning.collect.stages import ProblemStages, Work
from int_lightning.collect.statistics import collection_statistics, plot_statistics
from int_lightning.collect.store import Store
from int_lightning.collect.summary import show_conditioning, summarise
from int_lightning.console import progress, say, show_table, show_text
from int_lightning.engines.base import EngineConfig
from int_lightning.grading.grader import Grader
from int_lightning.model_folder.check import check_context
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.models.resolve import resolve_model
from int_lightning.oracles.base import Oracle
from int_lightning.preflight import Fitting, check_golds, check_legible
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.prompts.recorded_tokenizer import record_tokenizer
from int_lightning.rollout_sampler import open_sampler
from int_lightning.run_files import RESULTS, write_json
from int_lightning.sources.pool import Pool
from int_lightning.types import UserError

_ROWS_NAMED = 10


def collect_interventions(
    out: Path, pool: Pool, build: StagesBuilder, executor: Literal["local", "ray"], actors: int, total: int | None
) -> dict[str, Any]:
    """Collects into ``out/dataset``; see ``finish_collection`` for what else it writes, and what it returns.

    Args:
        out: The run's folder.
        pool: The problems.
        build: Makes the stages in the process that runs them.
        executor: In this process, or on a Ray cluster.
        actors: Engines of the cluster.
        total: Most problems, for the display.
    """
    store = Store(out / "dataset")
    store.batches()
    _check_limit(out, store, total)
    tokenizer, prompts = load_tokenizer(resolve_model(build.model)), PromptSet(build.prompts)
    if said := check_legible(tokenizer, prompts, pool, build.model):
        say(f"[yellow]note:[/] {escape(said)}")
    _check_context(build)
    with Grader() as grader:
        golds = check_golds(grader, pool)
    golds.show()
    fitting = Fitting(pool, tokenizer, prompts, build.engine.max_model_len)
    (out / RESULTS).unlink(missing_ok=True)
    record_tokenizer(store.folder, tokenizer, build.model)
    store.begin()
    collector = Collector(store, build.config.batch_problems)
    with progress("collect", total, "problems") as advance:
        began, tokens = time.perf_counter(), 0

        def ended(work: Work) -> None:
            nonlocal tokens
            tokens += work.outcome.tokens
            advance(1, f"{tokens / (time.perf_counter() - began):,.0f} rollout tokens/s")

        if executor == "ray":
            run_on_ray(collector, build, fitting, ended, actors)
        else:
            stages = build()
            with stages.sampler.grader:
                collector.run(stages, fitting, ended)
    fitting.show()
    if fitting.left_out and not store.batches():
        raise UserError(f"no problem's prompt fits into engine.max_model_len = {build.engine.max_model_len}: raise it")
    return finish_collection(out, store, pool, {"golds": golds.as_dict(), "too_long": fitting.as_dict()})


def _check_context(build: StagesBuilder) -> None:
    """Comes after legibility, so that whoever forgot the model hears that, and not that the default's context is short."""
    check_context(resolve_model(build.model), build.engine.max_model_len, build.engine.trust_remote_code)


def _check_limit(out: Path, store: Store, limit: int | None) -> None:
    """A larger limit continues where a smaller one ended; a smaller one comes too late."""
    done, waiting = known_problems(store)
    if limit is not None and len(done) + len(waiting) > limit:
        raise UserError(
            f"--limit {limit}: {out} already holds {len(done) + len(waiting)} problems, which a collection does not remove: "
            "raise the limit or choose another folder"
        )


def finish_collection(
    out: Path, store: Store, pool: Pool, preflight: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes ``out/collection.json``, ``out/plots`` and ``out/results.json``, whose presence says that the collection is
    complete; shows the summary and returns it. ``preflight`` is what was found of the problems before they were sampled."""
    _show_left_out(pool)
    summary = summarise(store)
    categories = {c.proposal_id: c.category for c in store.read("categories", ErrorCategory)}
    statistics = collection_statistics(store, categories)
    write_json(
        out / "collection.json",
        {**summary, "statistics": statistics, "pool": pool.summary.as_dict(), **(preflight or {})},
    )
    plots = plot_statistics(statistics, out / "plots")
    write_json(out / RESULTS, summary)
    counts = [[k, str(v)] for k, v in summary.items() if isinstance(v, int)]
    counts += [[f"rejected: {reason}", str(n)] for reason, n in summary["rejected"].items()]
    counts += [[f"attempts not rewritten: {reason}", str(n)] for reason, n in summary["not_rewritten"].items()]
    show_table(f"Interventions in {out}", ["", "count"], counts)
    show_conditioning(summary["conditioning"])
    say(escape(f"statistics: {out / 'collection.json'}, plots: {', '.join(p.name for p in plots)} in {out / 'plots'}"))
    return summary


def show_plan(pool: Pool, build: StagesBuilder) -> dict[str, Any]:
    """Counts what a collection would do, shows the counts and returns them; no engine is started."""
    tokenizer, prompts = load_tokenizer(resolve_model(build.model)), PromptSet(build.prompts)
    try:
        illegible = check_legible(tokenizer, prompts, pool, build.model)
    except UserError as error:
        illegible = str(error)
    if illegible:
        say(f"[yellow]note:[/] {escape(illegible)}")
    _check_context(build)
    with Grader() as grader:
        golds = check_golds(grader, pool)
    fitting = Fitting(pool, tokenizer, prompts, build.engine.max_model_len)
    found = plan(fitting, tokenizer, prompts, build.config, build.attempts, build.oracle)
    total = pool.summary.total
    say(
        f"{found.problems} problems of {total.rows} rows: {sum(total.quarantined.values())} rows cannot be used, "
        f"{total.exact_duplicates} exact and {total.near_duplicates} near duplicates "
        f"({total.conflicting_answers} with another gold answer), {total.contaminated} of benchmarks"
    )
    _show_left_out(pool)
    fitting.show()
    golds.show()
    for name, text in found.prompts.items():
        say(f"[bold]prompt `{name}` of the first problem:[/]")
        show_text(text)
    say(f"the longest `solve` prompt has {found.longest_prompt} tokens")
    columns = ["stage", "completions", "prompt tokens", "generated tokens"]
    rows = [[s.name, *(f"{n:,}" for n in (s.completions, s.prompt_tokens, s.generated_tokens))] for s in found.stages]
    show_table("At most: every problem hard, nothing rejected, nothing cached", columns, rows)
    return {
        "plan": found.as_dict(),
        "pool": pool.summary.as_dict(),
        "golds": golds.as_dict(),
        "too_long": fitting.as_dict(),
        "illegible": illegible,
    }


def _show_left_out(pool: Pool) -> None:
    """Names the first rows that cannot be used, the first problems of benchmarks and the first texts with two gold answers."""
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
    for conflict in summary.conflicts[:_ROWS_NAMED]:
        said = (
            f"{conflict.source}: {conflict.id} has {conflict.answer!r}, the other copy of its text {conflict.other!r}"
        )
        say(f"[yellow]two gold answers:[/] {escape(said)}")
    if (unlisted := summary.total.conflicting_answers - _ROWS_NAMED) > 0:
        say(f"[yellow]two gold answers:[/] {unlisted} more duplicates whose answer is not that of the copy kept")


@dataclass(frozen=True)
class StagesBuilder:
    """Makes the stages of a collection in the process that calls it, which may be on another machine.

    Args:
        model: The policy.
        prompts: Prompt set.
        oracle: Proposes the interventions.
        config: Sizes.
        engine: How to start the engine.
        seed: The run's seed.
        attempts: Rollouts per problem for the hard filter, by source, for sources that have their own number.
    """

    model: str
    prompts: str
    oracle: Oracle
    config: CollectConfig
    engine: EngineConfig
    seed: int
    attempts: Mapping[str, int] = field(default_factory=dict)

    def __call__(self) -> ProblemStages:
        """The stages, engine included."""
        sampler = open_sampler(self.model, self.prompts, Grader(), self.engine, self.seed)
        return ProblemStages(sampler, self.oracle, self.config, self.attempts)

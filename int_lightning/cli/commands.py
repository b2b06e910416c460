"""The Trainer whose extra methods are the commands ``collect``, ``evaluate`` and ``run``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonargparse.typing import PositiveInt
from rich.markup import escape

from int_lightning.cli.algorithm import Algorithm1
from int_lightning.cli.config_file import read_config
from int_lightning.collect.command import StagesBuilder, collect_interventions, show_plan
from int_lightning.collect.config import CollectConfig
from int_lightning.collect.store import Store
from int_lightning.console import interval, say
from int_lightning.evaluation.first_error import first_error_scores, show_first_error_scores
from int_lightning.evaluation.labelled_attempts import load_labelled_attempts
from int_lightning.evaluation.onpolicy_report import onpolicy_report, show_onpolicy
from int_lightning.evaluation.onpolicy_sets import OnPolicySet
from int_lightning.evaluation.pass_at_k import EvaluationConfig, evaluate
from int_lightning.grading.grader import Grader
from int_lightning.learn.module import DTYPES
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.oracles.base import Oracle, ProgramOracle
from int_lightning.oracles.policy import PolicyOracle
from int_lightning.preflight import prepared
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.rollout_sampler import RolloutSampler, open_sampler, weights_of
from int_lightning.run_files import DRY_RUN, RESULTS, write_json
from int_lightning.sources.pool import open_pool
from int_lightning.sources.reading import load_problems
from int_lightning.sources.source_config import Sources, own_attempts
from int_lightning.types import UserError


class IntTrainer(EngineTrainer):
    """The trainer of the command line, whose additional methods are commands.

    ``run_stage`` runs the command line of a stage; the command line sets it, as it does the engine's settings and the seed.
    """

    run_stage: Callable[[list[str]], None]

    def collect(
        self,
        problems: Sources = Sources(),
        source: Sources = Sources(),
        model: str = "mini",
        prompts: str = "math",
        oracle: Oracle | None = None,
        collection: CollectConfig = CollectConfig(),
        limit: int | None = None,
        decontaminate: Sources = Sources(),
        quarantine_limit: float = 0.01,
        executor: Literal["local", "ray"] = "local",
        actors: PositiveInt = 2,
        dry_run: bool = False,
    ) -> None:
        """Collect interventions: sample, filter hard problems, propose, check, write the dataset D_InT.

        Args:
            problems: Where the problems come from: a JSONL, JSON, CSV or Parquet file, ``hf:ID``, ``gym:TASK`` or ``mini:SPLIT``;
                a mapping with such a path and with columns, weight and attempts; or a list of these.
            source: The same, in place of ``problems``.
            model: The policy: ``mini``, ``smollm2-135m-instruct``, a model folder or a hub name.
            prompts: Prompt set: ``math``, ``gradeschool``, ``mini`` or a folder.
            oracle: Proposes the interventions; the policy itself if not given.
            collection: Sizes of the collection.
            limit: Use only the first problems of the pool.
            decontaminate: Benchmarks, described as ``problems`` are; their problems are left out, and named.
            quarantine_limit: Share of a source's rows that may be unusable before the run stops.
            executor: ``local``, or ``ray`` for engines on a Ray cluster.
            actors: Engines of the cluster.
            dry_run: Only say what would be done: counts, a prompt, tokens.
        """
        given = source or problems
        if not given:
            raise UserError("there are no problems to collect on: give --problems or --source")
        sources = Sources.of(given)
        pool = open_pool(sources, limit, self.seed, quarantine_limit, Sources.of(decontaminate))
        first = next(iter(pool), None)
        if first is None:
            raise UserError(f"{sources}: no problems in it: give a source with at least one row")
        own = own_attempts(sources)
        build = StagesBuilder(model, prompts, oracle or PolicyOracle(), collection, self.engine_config, self.seed, own)
        out = Path(self.default_root_dir)
        if dry_run:
            found = show_plan(pool, build)
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / DRY_RUN, found)
            say(f"the same as JSON: {escape(str(out / DRY_RUN))}")
            return
        collect_interventions(out, pool, build, executor, actors, limit)

    def evaluate(
        self,
        problems: dict[str, Sources] | None = None,
        model: str = "mini",
        prompts: str = "math",
        evaluation: EvaluationConfig = EvaluationConfig(),
        limit: int | None = None,
        first_errors: dict[str, str] | None = None,
        references: str | None = None,
        oracle: Oracle | None = None,
        onpolicy: dict[str, OnPolicySet] | None = None,
        models: dict[str, str] | None = None,
    ) -> None:
        """Evaluate a model: pass@k on problem sets, how well an oracle finds first wrong steps, or how on-policy datasets are.

        Args:
            problems: Problem sets: a name for each, and where it comes from, described as in ``collect``.
            model: The policy: ``mini``, ``smollm2-135m-instruct``, a model folder or a hub name.
            prompts: Prompt set: ``math``, ``gradeschool``, ``mini`` or a folder.
            evaluation: Rollouts, k and sampling.
            limit: Use only the first problems of each source, the first erroneous and right attempts of each benchmark, and the
                first rows of each dataset.
            first_errors: Benchmarks of attempts with labelled first wrong steps (ProcessBench's format): a name and a file.
            references: File of reference solutions for them, where they have none themselves.
            oracle: Names the first wrong steps; the policy itself if not given.
            onpolicy: Datasets whose NLL and next-token entropy are reported: a name for each, and its folder or file.
            models: Models to report them under, a name for each (before and after SFT, say); ``model`` alone if not given.
        """
        if not problems and not first_errors and not onpolicy:
            raise UserError("there is nothing to evaluate on: give problems, first_errors or onpolicy")
        named = {"problems": problems, "first_errors": first_errors, "onpolicy": onpolicy, "models": models}
        for key, given in named.items():
            if not all(name.strip() for name in given or ()):
                raise UserError(f"{key} has an entry without a name: write {key}: {{NAME: ...}}")
        results: dict[str, Any] = {"model": model}
        plot = Path(self.default_root_dir) / "onpolicy.png"
        if onpolicy:
            dtype = DTYPES[self.engine_config.dtype]
            results["onpolicy"] = onpolicy_report(onpolicy, models or {model: model}, prompts, dtype, limit, plot)
        sets = {n: load_problems(source, limit, require_solution=False) for n, source in (problems or {}).items()}
        items = load_labelled_attempts(first_errors, references, limit) if first_errors else []
        with ExitStack() as resources:
            grader, room = resources.enter_context(Grader()), self.engine_config.max_model_len
            sets, results["golds"] = prepared(sets, grader, model, PromptSet(prompts), room)
            opened = cache(lambda: self._sampler(model, prompts, grader))
            if sets:
                store = Store(Path(self.default_root_dir) / "evaluation")
                results["sets"] = evaluate(store, opened, weights_of(model), sets, evaluation)
            if items:
                sampler = None if isinstance(oracle, ProgramOracle) else opened()
                results["first_errors"] = first_error_scores(oracle or PolicyOracle(), items, sampler)
        self._write_results(results)
        for name, score in results.get("sets", {}).items():
            estimates = ", ".join(f"{k} {interval(v)}" for k, v in score.items() if k.startswith("pass@"))
            say(f"  {escape(name)}: {escape(estimates)}, {score['problems']} problems x {score['rollouts']} rollouts")
        if items:
            show_first_error_scores(results["first_errors"])
        if onpolicy:
            show_onpolicy(results["onpolicy"], plot)

    def run(self, collect: str, sft: str, grpo: str, evaluate: str) -> None:
        """Run the paper's Algorithm 1 end to end: base, GRPO from base, InT, InT then GRPO, evaluated on the same problems.

        Args:
            collect: Config of the collection from the base model.
            sft: Config of the SFT on interventions.
            grpo: Config of GRPO; used from the base model and from the patched one.
            evaluate: Config of the evaluation.
        """
        for config in (collect, sft, grpo, evaluate):
            read_config(config)
        stages = {"collect": collect, "sft": sft, "grpo": grpo, "evaluate": evaluate}
        Algorithm1(Path(self.default_root_dir), stages, self.engine_config, self.seed, self.run_stage).run()

    def _sampler(self, model: str, prompts: str, grader: Grader) -> RolloutSampler:
        return open_sampler(model, prompts, grader, self.engine_config, self.seed)

    def _write_results(self, results: dict[str, Any]) -> None:
        path = Path(self.default_root_dir) / RESULTS
        write_json(path, results)
        say(escape(f"results: {path}"))

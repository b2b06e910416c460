"""Algorithm 1 of the paper as one run, each stage through the command line that a user would type:

    D_InT <- collect(base);  patched <- SFT(base, D_InT);  GRPO from base and from patched;  evaluate all four.

A finished stage leaves ``stage.json`` in its folder and is not repeated when the run is started again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from int_lightning.collect.summary import show_conditioning
from int_lightning.console import say
from int_lightning.engines.base import EngineConfig
from int_lightning.engines.opening import tokens_generated
from int_lightning.evaluation.pass_at_k import show_arms
from int_lightning.run_files import RESULTS, write_json

ARMS = {"base": None, "grpo": "grpo", "int": "sft", "int_grpo": "int_grpo"}


class Algorithm1:
    """The run of all stages.

    Args:
        out: Folder of the run; each stage has a sub-folder.
        configs: Config file of each kind of stage: collect, sft, grpo, evaluate.
        engine: Engine of every stage.
        seed: Seed of every stage.
        run_stage: Runs the command line of a stage.
    """

    def __init__(
        self,
        out: Path,
        configs: Mapping[str, str],
        engine: EngineConfig,
        seed: int,
        run_stage: Callable[[list[str]], None],
    ) -> None:
        self.out = out
        self.configs = configs
        self.engine = engine
        self.seed = seed
        self.run_stage = run_stage
        self.seconds: dict[str, float] = {}
        self.tokens = 0

    def run(self) -> dict[str, Any]:
        """Runs what is not done yet, writes ``results.json`` and prints the tables."""
        self.stage("collect", "collect", "collect")
        self.stage("grpo", "fit", "grpo")
        self.stage("sft", "fit", "sft", f"--data.init_args.folder={self.out / 'collect'}")
        self.stage("int_grpo", "fit", "grpo", f"--model.init_args.model={self.out / 'sft' / 'model'}")
        for arm, trained in ARMS.items():
            model = [] if trained is None else [f"--model={self.out / trained / 'model'}"]
            self.stage(f"evaluate_{arm}", "evaluate", "evaluate", *model)
        results = {
            "arms": {arm: self._result(f"evaluate_{arm}")["sets"] for arm in ARMS},
            "conditioning": self._result("collect")["conditioning"],
            "seconds": self.seconds,
            "tokens_generated": self.tokens,
        }
        path = self.out / RESULTS
        write_json(path, results)
        show_conditioning(results["conditioning"])
        show_arms(results["arms"], "Held-out problems: pass@k [95% bootstrap interval over problems]")
        say(f"{sum(self.seconds.values()):.0f} s, {self.tokens:,} tokens generated; results: {escape(str(path))}")
        return results

    def stage(self, name: str, command: str, config: str, *overrides: str) -> None:
        """Runs a stage in its own folder, unless it is done."""
        folder = self.out / name
        done = folder / "stage.json"
        if not done.exists():
            if command == "fit" and folder.exists():
                shutil.move(folder, folder.with_name(f"{name}.unfinished-{time.time_ns()}"))
            say(f"[bold]{name}[/bold] ({command} -c {escape(self.configs[config])})")
            started, tokens = time.perf_counter(), tokens_generated()
            common = [f"--out={folder}", f"--seed_everything={self.seed}", f"--engine={json.dumps(vars(self.engine))}"]
            self.run_stage([command, f"--config={self.configs[config]}", *overrides, *common])
            record = {"seconds": time.perf_counter() - started, "tokens_generated": tokens_generated() - tokens}
            write_json(done, record)
        record = json.loads(done.read_text(encoding="utf-8"))
        self.seconds[name] = record["seconds"]
        self.tokens += record["tokens_generated"]

    def _result(self, stage: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads((self.out / stage / RESULTS).read_text(encoding="utf-8"))
        return result

"""How a process comes to its stages: engine, tokenizer, prompts and grader, made where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from int_lightning.collect.config import CollectConfig
from int_lightning.collect.oracles import Oracle
from int_lightning.collect.problem import ProblemStages
from int_lightning.engines import EngineConfig, open_engine
from int_lightning.grading import Grader
from int_lightning.learn.pretrained import fingerprint, resolve_model
from int_lightning.model_folder.tokenizer import load_tokenizer
from int_lightning.prompts import PromptSet
from int_lightning.rollouts import RolloutSampler


def open_sampler(model: str, prompts: str, grader: Grader, engine: EngineConfig, seed: int) -> RolloutSampler:
    """A sampler of a model's rollouts, on this process's engine.

    Args:
        model: ``mini``, ``smollm2-135m-instruct``, a model folder or a hub name.
        prompts: Prompt set.
        grader: Grades final answers.
        engine: How to start the engine.
        seed: The run's seed.
    """
    folder = resolve_model(model)
    tokenizer = load_tokenizer(folder)
    weights = weights_of(model)
    return RolloutSampler(open_engine(folder, engine), tokenizer, PromptSet(prompts), grader, model, weights, seed)


def weights_of(model: str) -> str:
    """The fingerprint of a model's weights; of one that comes from the hub, its id."""
    folder = resolve_model(model)
    return fingerprint(folder) if Path(folder).is_dir() else folder


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
        attempts: Rollouts per problem for the hard filter, of sources that have their own number.
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

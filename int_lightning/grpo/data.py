"""The DataModule of GRPO: problems, the sampler of groups, and the stream of optimiser steps."""

from __future__ import annotations

from pathlib import Path

import lightning as L
from torchdata.stateful_dataloader import StatefulDataLoader

from int_lightning.console import say
from int_lightning.grading.grader import Grader
from int_lightning.grpo.groups import GroupConfig
from int_lightning.grpo.hints import HintConfig
from int_lightning.grpo.module import GRPOModule
from int_lightning.grpo.objective import check_importance
from int_lightning.grpo.rewards import RewardConfig, Rewards
from int_lightning.grpo.sampling import GroupSampler, Intervening
from int_lightning.grpo.stream import RolloutStream
from int_lightning.grpo.validation import ValidationStream
from int_lightning.learn.data_callbacks import callback_of
from int_lightning.learn.micro_batches import Step
from int_lightning.learn.step_stream import Layout
from int_lightning.learn.trainer import EngineTrainer
from int_lightning.model_folder.tokenizer import pad_id
from int_lightning.preflight import check_golds, usable
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.run_files import digest
from int_lightning.sources.reading import load_problems
from int_lightning.sources.source_config import Sources
from int_lightning.types import Problem, Sampling, UserError


class RolloutData(L.LightningDataModule):
    """Groups of rollouts, sampled as training goes.

    Args:
        problems: Where the training problems come from, described as in ``collect``: a path, a mapping with columns, or a list.
        prompts: Prompt set.
        steps: Optimiser steps of the run.
        prompts_per_batch: Problems sampled before each round of updates.
        rollouts_per_prompt: Size of a group.
        updates_per_batch: Optimiser steps on each batch.
        sampling: How rollouts are drawn.
        max_tokens: Budget of a micro-batch.
        packing: Rows end to end in one sequence without padding; attention stays within each. Rows of a model that does not
            keep them apart are padded, which a line says.
        rewards: Parts of the reward; the right answer alone if not given.
        groups: How groups are made into a loss.
        hints: Show problems with the beginning of their reference solution (hint-guided RL); null shows none of it.
        show_every: Batches between tables of sampled rollouts on the console; 0 shows none.
        limit: Use only the first problems of the source.
        validation: Where held-out problems come from, for ``val/pass@k`` every ``trainer.val_check_interval`` steps; without that
            key, after the last step.
    """

    def __init__(
        self,
        problems: Sources,
        prompts: str = "math",
        steps: int = 400,
        prompts_per_batch: int = 32,
        rollouts_per_prompt: int = 8,
        updates_per_batch: int = 1,
        sampling: Sampling = Sampling(),
        max_tokens: int = 16384,
        packing: bool = True,
        rewards: list[RewardConfig] | None = None,
        groups: GroupConfig = GroupConfig(),
        hints: HintConfig | None = None,
        show_every: int = 0,
        limit: int | None = None,
        validation: Sources = Sources(),
    ) -> None:
        super().__init__()
        for name, value in (
            ("steps", steps),
            ("prompts_per_batch", prompts_per_batch),
            ("updates_per_batch", updates_per_batch),
            ("max_tokens", max_tokens),
        ):
            if value < 1:
                raise UserError(f"data.{name} is {value}: give at least 1")
        if rollouts_per_prompt < 2:
            raise UserError(
                f"data.rollouts_per_prompt is {rollouts_per_prompt}: a group of one never has an advantage; give 2 or more"
            )
        if updates_per_batch > prompts_per_batch:
            raise UserError("data.updates_per_batch is larger than data.prompts_per_batch: lower it")
        self.source = Sources.of(problems)
        self.prompt_set = prompts
        self.steps = steps
        self.prompts_per_batch = prompts_per_batch
        self.rollouts_per_prompt = rollouts_per_prompt
        self.updates_per_batch = updates_per_batch
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.packing = packing
        self.reward_configs = rewards or [RewardConfig()]
        self.groups = groups
        self.hints = hints
        self.show_every = show_every
        self.limit = limit
        self.validation = Sources.of(validation)

    def setup(self, stage: str) -> None:
        """Loads the problems, the prompts and the grader, and finds a callback that intervenes in failed groups.

        Raises:
            UserError: if the problems cannot be used, or importance weights are asked for that cannot be known.
        """
        self.prompts = PromptSet(self.prompt_set)
        self.grader = Grader()
        self.problems = self._usable(load_problems(self.source, self.limit, require_solution=self.hints is not None))
        self.validation_problems = (
            self._usable(load_problems(self.validation, require_solution=False), "validation: ")
            if self.validation
            else []
        )
        self.sampler = GroupSampler(
            trainer=self.engine_trainer,
            problems=self.problems,
            prompts=self.prompts,
            grader=self.grader,
            rewards=Rewards(self.reward_configs, self.groups.reward_timeout),
            config=self.groups,
            sampling=self.sampling,
            prompts_per_batch=self.prompts_per_batch,
            rollouts_per_prompt=self.rollouts_per_prompt,
            hints=self.hints,
            interventions=callback_of(self.engine_trainer, Intervening),  # type: ignore[type-abstract]
        )
        self.module.temperature = self.sampling.temperature or 1.0
        self.module.engine_samples_policy = self.sampler.engine_samples_policy
        check_importance(self.module.objective, self.sampling)
        if self.sampling.truncates and self.module.objective.importance_cap is None:
            say(
                "[yellow]note:[/] with top_p or top_k the engine samples from a part of the policy's distribution; ratios are "
                "those of the whole distribution, so that the gradient is off-policy by that much. Set "
                "model.init_args.objective.importance_cap to weigh it"
            )

    def _usable(self, problems: list[Problem], of: str = "") -> list[Problem]:
        if self.engine_trainer.is_global_zero:
            check_golds(self.grader, problems).show(of)
        room = self.engine_trainer.engine_config.max_model_len
        return usable(problems, self.module.tokenizer, self.prompts, room, self.module.folder, of)

    def contents(self) -> dict[str, str]:
        """What must stay the same while a run lasts, by key: the problems and the prompts, and, with hints, the number of steps
        over which they become shorter."""
        texts = [[p.id, p.problem, p.solution, p.answer] for p in self.problems]
        found = {"problems": digest(texts), "prompts": digest(self.prompts.templates)}
        return found | ({"steps": f"{self.steps} steps, over which hints are shortened"} if self.hints else {})

    def teardown(self, stage: str) -> None:
        """Ends the grader's workers."""
        self.grader.close()

    def train_dataloader(self) -> StatefulDataLoader[Step]:
        """The stream of optimiser steps."""
        trainer = self.engine_trainer
        packed = self.packing and self.module.packs
        layout = Layout(pad_id(self.module.tokenizer), self.max_tokens, packed, trainer.global_rank, trainer.world_size)
        stream = RolloutStream(
            self.sampler,
            self.module,
            layout,
            self.steps,
            self.updates_per_batch,
            Path(trainer.default_root_dir) / "rollouts",
            self.show_every,
        )
        return StatefulDataLoader(stream, batch_size=None)

    def val_dataloader(self) -> StatefulDataLoader[Step] | list[Step]:
        """The metrics of the held-out problems."""
        if not self.validation_problems:
            return []
        return StatefulDataLoader(ValidationStream(self.sampler, self.validation_problems), batch_size=None)

    @property
    def engine_trainer(self) -> EngineTrainer:
        """The trainer this data belongs to."""
        assert isinstance(self.trainer, EngineTrainer)
        return self.trainer

    @property
    def module(self) -> GRPOModule:
        """The policy under training.

        Raises:
            UserError: if the model is not a GRPOModule.
        """
        assert self.trainer is not None
        module = self.trainer.lightning_module
        if not isinstance(module, GRPOModule):
            raise UserError(f"RolloutData feeds a GRPOModule, not a {type(module).__name__}: change model.class_path")
        return module

"""An oracle: it is given wrong attempts and proposes interventions.

To add one, subclass ``Oracle`` (or ``ProgramOracle``) and name it as ``oracle.class_path`` in the config.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from int_lightning.defects import DefectKind
from int_lightning.oracles.proposals.parse import parse_proposal
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Problem, Proposal, Provenance, Rollout, UserError


def is_waiting(proposal: Proposal) -> bool:
    """Whether the oracle still owes an answer; the next run takes up the attempt again."""
    return proposal.defect is not None and proposal.defect.kind is DefectKind.WAITING


def is_too_long(proposal: Proposal) -> bool:
    """Whether the oracle could not be asked because the attempt is too long for its context."""
    return proposal.defect is not None and proposal.defect.kind is DefectKind.TOO_LONG


@dataclass(frozen=True, slots=True)
class Attempt:
    """A wrong attempt as an oracle gets it: the problem with its reference, the rollout, and the rollout's steps."""

    problem: Problem
    rollout: Rollout
    steps: list[str]


class Oracle(ABC):
    """Finds the first wrong step of attempts and proposes a step to put in its place."""

    name: str

    def __init_subclass__(cls) -> None:
        """An oracle without a name, of its own or inherited, goes by the name of its class."""
        super().__init_subclass__()
        named = next((c for c in cls.__mro__ if "name" in vars(c)), None)
        if named is None or vars(named)["name"] == named.__name__:
            cls.name = cls.__name__

    @abstractmethod
    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        """Proposals for each attempt, in order of preference; those that cannot be used carry their defect."""

    def proposal(
        self, attempt: Attempt, sample: int, raw: str, provenance: Provenance | None = None, cut: bool = False
    ) -> Proposal:
        """A record of what the oracle said; ``cut`` if the length limit ended it."""
        parsed = parse_proposal(raw, attempt.steps, cut)
        return Proposal(
            id=f"{attempt.rollout.id}/{self.name}/{sample}",
            problem_id=attempt.problem.id,
            rollout_id=attempt.rollout.id,
            sample=sample,
            oracle=self.name,
            raw=raw,
            location=parsed.location,
            content=parsed.content,
            defect=parsed.defect,
            provenance=provenance,
        )


def check_proposals(oracle: Oracle, attempts: Sequence[Attempt], proposals: Sequence[Sequence[Proposal]]) -> None:
    """Checks that an oracle answered for every attempt, and that its proposals can be told apart.

    Raises:
        UserError: naming the oracle, if not.
    """
    if len(proposals) != len(attempts):
        raise UserError(
            f"oracle {oracle.name} gave {len(proposals)} lists of proposals for {len(attempts)} attempts: give one list for each"
        )
    ids = Counter(proposal.id for proposal in chain.from_iterable(proposals))
    for id, count in ids.items():
        if count > 1:
            raise UserError(
                f"oracle {oracle.name} gave {count} proposals the id {id}: number those of an attempt by `sample`"
            )


class ProgramOracle(Oracle):
    """A program that needs no model: one proposal an attempt."""

    @abstractmethod
    def first_error(self, problem: Problem, steps: Sequence[str]) -> tuple[int, str] | None:
        """Index of the first wrong step and the step to put in its place; None if it finds none."""

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        """See ``Oracle.propose``."""
        proposals = []
        for attempt in attempts:
            found = self.first_error(attempt.problem, attempt.steps)
            body = {} if found is None else {"location": found[0], "content": found[1]}
            proposals.append([self.proposal(attempt, 0, f"<intervention>{json.dumps(body)}</intervention>")])
        return proposals

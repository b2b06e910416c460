"""An oracle of the user's own whose answers cannot be used is named in one line."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from int_lightning.oracles.base import Attempt, ProgramOracle, check_proposals
from int_lightning.types import Problem, UserError

from scripted_server import attempt


class Nothing(ProgramOracle):
    def first_error(self, problem: Problem, steps: Sequence[str]) -> tuple[int, str] | None:
        return None


def proposed(attempts: Sequence[Attempt], samples: Sequence[int]) -> None:
    oracle = Nothing()
    check_proposals(oracle, attempts, [[oracle.proposal(a, sample, "") for sample in samples] for a in attempts])


def test_proposals_with_ids_of_their_own_are_taken() -> None:
    proposed([attempt("p"), attempt("q")], [0, 1])
    proposed([attempt("p")], [])


def test_two_proposals_with_one_id_are_refused() -> None:
    with pytest.raises(UserError, match="oracle Nothing gave 2 proposals the id p/attempt/0/Nothing/3: number"):
        proposed([attempt("p")], [0, 3, 3])


def test_an_attempt_without_an_answer_is_refused() -> None:
    with pytest.raises(UserError, match="oracle Nothing gave 1 lists of proposals for 2 attempts"):
        check_proposals(Nothing(), [attempt("p"), attempt("q")], [[]])

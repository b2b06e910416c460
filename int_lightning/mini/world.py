"""Problems of the mini world: chains of operations on single digits, modulo 10.

A problem such as ``7+3*2@5`` is worked from left to right. The operator ``@`` is the hard one: the base model was taught
``a@b = a+b`` in its own solutions and meets the right rule there only ``1 - FLAW`` of the time, so on problems with an
``@`` nearly every rollout fails. It was also taught to compare: problem, reference and numbered attempt in, one tagged
intervention for the first wrong step out. Comparing needs no knowledge of the rule, because the reference states the values.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from int_lightning.steps import SEPARATOR
from int_lightning.types import Problem, UserError

SOURCE = "mini"
"""The prefix of a source of problems that is a split of this world: ``mini:SPLIT[:COUNT]``."""

FLAW = 0.9998
EASY_OPERATORS = "+-*"
HARD_OPERATOR = "@"
SPLITS = {"hard-train": 240, "hard-test": 100, "easy": 100}
_HELD_OUT = {"hard-train": False, "hard-test": True, "easy": True}


@dataclass(frozen=True, slots=True)
class Chain:
    """A start digit and the operations applied to it in turn."""

    start: int
    operations: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return str(self.start) + "".join(f"{op}{b}" for op, b in self.operations)

    @property
    def held_out(self) -> bool:
        """Whether the chain belongs to the fifth of all chains that no training may see, that of the base model included."""
        return hashlib.blake2b(str(self).encode(), digest_size=2).digest()[0] % 5 == 0

    @property
    def fools_base(self) -> bool:
        """Whether the base's wrong rule for ``@`` leads to a wrong answer; on some chains it happens to lead to the right one."""
        value = self.start
        for op, b in self.operations:
            value = wrong(value, b) if op == HARD_OPERATOR else right(value, op, b)
        return value != self.values[-1]

    @property
    def values(self) -> list[int]:
        """The value after each operation."""
        value, values = self.start, []
        for op, b in self.operations:
            value = right(value, op, b)
            values.append(value)
        return values


def right(a: int, op: str, b: int) -> int:
    """The value of ``a op b``, a digit."""
    match op:
        case "+":
            return (a + b) % 10
        case "-":
            return (a - b) % 10
        case "*":
            return a * b % 10
        case _:
            return (a * b + a + 2 * b + 3) % 10


def wrong(a: int, b: int) -> int:
    """What the base model believes ``a@b`` to be."""
    return (a + b) % 10


def draw_chain(rng: random.Random, hard: bool) -> Chain:
    """A random chain of 3 to 6 operations; if ``hard``, exactly one of them is ``@``, otherwise none."""
    operators = [rng.choice(EASY_OPERATORS) for _ in range(rng.randint(3, 6))]
    if hard:
        operators[rng.randrange(len(operators))] = HARD_OPERATOR
    return Chain(rng.randint(0, 9), tuple((op, rng.randint(0, 9)) for op in operators))


def draw_training_chain(rng: random.Random, hard: bool) -> Chain:
    """A random chain that is not held out."""
    while True:
        chain = draw_chain(rng, hard)
        if not chain.held_out:
            return chain


def attempt(chain: Chain, rng: random.Random, flaw: float, slip: float = 0.0) -> list[str]:
    """The steps of a solution in the model's own style; the last one is the boxed answer.

    Args:
        flaw: Probability that an ``@`` follows the wrong rule.
        slip: Probability that any other operation gives a random digit.
    """
    value, steps = chain.start, []
    for op, b in chain.operations:
        result = right(value, op, b)
        if op == HARD_OPERATOR and rng.random() < flaw:
            result = wrong(value, b)
        elif rng.random() < slip:
            result = rng.randint(0, 9)
        steps.append(f"{value}{op}{b}={result}")
        value = result
    return [*steps, f"\\boxed{{{value}}}"]


def solution_text(steps: list[str]) -> str:
    """The steps as one text, separated by blank lines."""
    return SEPARATOR.join(steps)


def reference(chain: Chain) -> str:
    """The reference solution, in a terser style than the model's: the running values and the boxed answer."""
    return " > ".join(map(str, chain.values)) + f" > \\boxed{{{chain.values[-1]}}}"


def first_error(chain: Chain, steps: list[str]) -> tuple[int, str] | None:
    """Index of the first wrong step of an attempt and the step to put in its place; None if every step is right."""
    value = chain.start
    for i, ((op, b), step) in enumerate(zip(chain.operations, steps, strict=False)):
        result = right(value, op, b)
        fixed = f"{value}{op}{b}={result}"
        if step != fixed:
            return i, fixed
        value = result
    return None


def intervention_text(error: tuple[int, str] | None) -> str:
    """The tagged JSON that an oracle answers with."""
    body = "{}" if error is None else json.dumps({"location": error[0], "content": error[1]})
    return f"<intervention>{body}</intervention>"


def to_problem(chain: Chain, split: str, index: int) -> Problem:
    """The chain as a problem record with its reference solution and answer."""
    answer = str(chain.values[-1])
    return Problem(f"{split}-{index:05d}", str(chain), reference(chain), answer, f"{SOURCE}:{split}")


def load_split(split: str, count: int | None = None) -> list[Problem]:
    """The first ``count`` problems of a split, all different.

    The hard splits hold chains with an ``@`` on which the base's wrong rule gives a wrong answer; ``easy`` holds chains without
    ``@``. ``hard-test`` and ``easy`` hold only chains that no training may see.

    Raises:
        UserError: for an unknown split.
    """
    if split not in SPLITS:
        raise UserError(f"no split {split!r} in the mini world: choose one of {', '.join(SPLITS)}")
    wanted = SPLITS[split] if count is None else count
    return [to_problem(chain, split, i) for i, chain in enumerate(islice(_distinct_chains(split), wanted))]


def is_mini(source: str) -> bool:
    """Whether a source of problems is a split of the mini world."""
    return source.partition(":")[0] == SOURCE


def load_source(source: str) -> list[Problem]:
    """The problems of ``mini:SPLIT[:COUNT]``; without a count, the whole split.

    Raises:
        UserError: for an unknown split, and for a count that is not a number above 0.
    """
    split, _, count = source.partition(":")[2].partition(":")
    if count and not (count.isdecimal() and int(count)):
        raise UserError(f"{source}: {count!r} is not a number of problems: write mini:{split}:200")
    return load_split(split, int(count) if count else None)


def _distinct_chains(split: str) -> Iterator[Chain]:
    rng, seen = random.Random(f"mini/{split}"), set()
    while True:
        chain = draw_chain(rng, hard=split != "easy")
        if chain.held_out == _HELD_OUT[split] and chain.fools_base != (split == "easy") and chain not in seen:
            seen.add(chain)
            yield chain

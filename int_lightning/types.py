"""The records that flow from problems to a trained model.

Problem -> Rollout -> (graded, hard filter) -> Proposal -> Intervention -> SFTExample, and Problem -> Group for GRPO.
Every record names what it came from, so that a trained token can be traced to the output it was parsed from.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]
"""[T] tokens of a sequence."""

TokenValues = NDArray[np.float32]
"""[T] a number for each token: its log-prob in nats, its weight in the loss."""

Finish = Literal["stop", "length"]
"""Why a completion ended: at an end-of-sequence token, or at the longest length."""


class UserError(Exception):
    """A mistake the user can fix: the message says what is wrong, where (file, row, key) and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem x with its reference solution y* and final answer.

    ``solution`` is empty where the source has none; collection then refuses the problem.
    """

    id: str
    problem: str
    solution: str
    answer: str
    source: str = ""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Args:
        max_tokens: Longest completion, in tokens.
        temperature: 0 is greedy.
        top_p: Nucleus mass; log-probs of a rollout are those of the full distribution whatever this is.
        top_k: Keep the k likeliest tokens; 0 keeps all.
    """

    max_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UserError(f"sampling.max_tokens is {self.max_tokens}: give at least 1")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"sampling.temperature is {self.temperature}: give 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"sampling.top_p is {self.top_p}: give a value in (0, 1]")
        if self.top_k < 0:
            raise UserError(f"sampling.top_k is {self.top_k}: give 0 (all tokens) or more")


class WithArrays:
    """A record some of whose fields are arrays. They may be given as any sequence of numbers, and are compared item by item."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def _as_arrays(self, dtype: type[np.generic], *names: str) -> None:
        """Makes arrays of fields that are not None."""
        for name in names:
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


@dataclass(frozen=True, slots=True, eq=False)
class Completion(WithArrays):
    """What an engine returns for one prompt.

    Args:
        token_ids: [T] int32, the end-of-sequence token included where one was sampled (``finish == "stop"``).
        logprobs: [T] float32, under the engine's full distribution at temperature 1, in nats.
        finish: Why it ended.

    Example:
        >>> Completion([9707, 13, 151645], [-0.5, -0.25, -0.125], "stop")
        Completion(token_ids=array([  9707,     13, 151645], dtype=int32), logprobs=..., finish='stop')
    """

    token_ids: TokenIds
    logprobs: TokenValues
    finish: Finish

    def __post_init__(self) -> None:
        self._as_arrays(np.int32, "token_ids")
        self._as_arrays(np.float32, "logprobs")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a sampled record came from.

    Args:
        model: Folder or name of the model.
        fingerprint: Hash of its weights.
        engine: Name of the engine.
        template: Prompt template and version, as ``solve@1f2e3d4c``.
        sampling: The sampling parameters.
        seed: The seed of this completion.
        ends: Tokens that end a completion.
    """

    model: str
    fingerprint: str
    engine: str
    template: str
    sampling: Sampling
    seed: int
    ends: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Rollout(WithArrays):
    """One sampled solution attempt y ~ pi(.|x), with the very tokens and log-probs it was sampled with.

    Args:
        id: Problem or intervention, stage and sample: ``easy-00012/grpo/3/0``.
        problem_id: The problem x.
        sample: Its number among the rollouts of its prompt, from 0.
        prompt_ids: [P] int32; those of a guided rollout hold prompt, prefix and intervention.
        token_ids: [T] int32, the tokens of y.
        logprobs: [T] float32, in nats, as the engine sampled them.
        text: The text of y; that of a guided rollout begins with prefix and intervention.
        finish: Why it ended.
        answer: The final answer as extracted, "" if there is none.
        correct: Whether the answer is right.
        provenance: How it was sampled.
        parent: The intervention that a guided rollout continues after, else "".

    Example:
        >>> Rollout("p/grpo/0/0", "p", 0, [5, 6], [7, 8], [-0.5, -0.25], "2", "stop", "2", True, provenance)
    """

    id: str
    problem_id: str
    sample: int
    prompt_ids: TokenIds
    token_ids: TokenIds
    logprobs: TokenValues
    text: str
    finish: Finish
    answer: str
    correct: bool
    provenance: Provenance
    parent: str = ""

    def __post_init__(self) -> None:
        self._as_arrays(np.int32, "prompt_ids", "token_ids")
        self._as_arrays(np.float32, "logprobs")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An oracle's raw word on one wrong attempt, and what was parsed from it.

    ``location`` is the index of the first wrong step (-1 where none was given), ``content`` the step to put in its
    place, ``defect`` why it cannot be used ("" if it can).
    """

    id: str
    problem_id: str
    rollout_id: str
    sample: int
    oracle: str
    raw: str
    location: int
    content: str
    defect: str
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Intervention:
    """One replacement step for the first wrong step t* of a rollout: (x, y_<t*, intervention).

    ``prefix_ids`` is a slice of the rollout's own tokens. ``exact`` says whether the cut falls on the step boundary; where
    it does not, the boundary lies inside the prefix's last token. ``rejected`` is the reason it is not trained on, "" if it is.
    ``guided_*`` count the guided rollouts from the prefix alone and from prefix + intervention.
    """

    id: str
    problem_id: str
    rollout_id: str
    proposal_id: str
    location: int
    steps: int
    content: str
    prompt_ids: list[int]
    prefix_ids: list[int]
    intervention_ids: list[int]
    exact: bool
    rejected: str = ""
    guided_correct: int = 0
    guided_total: int = 0
    prefix_correct: int = 0
    prefix_total: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What collection did with one problem; its last outcome counts.

    ``status`` is "solved" (an attempt was right), "hard" (none was, and all its stages are done) or "waiting" (the oracle has
    not answered for some attempts: a server failed, or a person has not written yet). ``attempts`` and ``correct`` count the
    rollouts of the hard filter, ``naive_*`` fresh ones from the bare problem; ``tokens`` are those of all rollouts.
    """

    problem_id: str
    source: str
    status: str
    attempts: int
    correct: int
    tokens: int
    proposals: int = 0
    accepted: int = 0
    naive_correct: int = 0
    naive_total: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of a training row that are alike: what they are (``prompt``, ``prefix``, ``intervention``, ``suffix``, ``solution``
    or ``end``), how many, and the weight of each in the loss (0: not trained on)."""

    name: str
    tokens: int
    weight: float


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A training row: token ids, and the spans they fall into, in order.

    The weight of token i applies to predicting token i from those before it.

    Raises:
        UserError: naming the row, if the spans are not those of its tokens, if a prompt carries loss or follows anything, if a
            weight is not a finite number from 0, or if nothing is trained on.
    """

    id: str
    problem_id: str
    token_ids: list[int]
    spans: list[Span]

    def __post_init__(self) -> None:
        if (covered := sum(span.tokens for span in self.spans)) != len(self.token_ids):
            raise UserError(f"row {self.id!r}: {len(self.token_ids)} tokens, but its spans have {covered}")
        if any(span.tokens < 0 for span in self.spans):
            raise UserError(f"row {self.id!r} has a span of fewer than 0 tokens: {self.spans}")
        if any(span.name == "prompt" for span in self.spans[1:]):
            raise UserError(f"row {self.id!r} has a prompt after its first span, which begins the row: put it first")
        if any(span.name == "prompt" and span.weight for span in self.spans):
            raise UserError(f"row {self.id!r} would train on its prompt: give loss weight 0 to prompts")
        if any(span.weight < 0 for span in self.spans):
            raise UserError(f"row {self.id!r} has a loss weight below 0: give 0 or more")
        if not all(math.isfinite(span.weight) for span in self.spans):
            raise UserError(f"row {self.id!r} has a loss weight that is not a finite number: give 0 or more")
        if not any(self.loss_weights[1:]):
            raise UserError(f"row {self.id!r} would train on no token: remove it or check its spans")

    @property
    def loss_weights(self) -> list[float]:
        """The weight of each token."""
        return [span.weight for span in self.spans for _ in range(span.tokens)]


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one prompt in one GRPO step.

    Args:
        problem_id: The problem they are attempts at.
        rollouts: G of them; those whose reward could not be computed are left out.
        rewards: G rewards r_i, float64.
        advantages: G advantages A_i, float64: r_i - mean_j r_j, or as ``GroupConfig.advantage`` says.

    Example:
        >>> Group("p", [right, wrong], [1.0, 0.0], [0.5, -0.5])
    """

    problem_id: str
    rollouts: list[Rollout]
    rewards: list[float]
    advantages: list[float] = field(default_factory=list)

    @property
    def zero_advantage(self) -> bool:
        """Whether no rollout of the group gives a gradient."""
        return not any(self.advantages)

    @property
    def all_failed(self) -> bool:
        """Whether there are rollouts and every one is wrong."""
        return bool(self.rollouts) and not any(rollout.correct for rollout in self.rollouts)


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on nothing else: (run seed, stage or step, problem, sample)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1

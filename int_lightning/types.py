"""The records that flow from problems to a trained model.

Problem -> Rollout -> (graded, hard filter) -> Proposal -> Intervention -> SFTExample, and Problem -> Group for GRPO.
Every record names what it came from, so that a trained token can be traced to the output it was parsed from. Token ids are
those of the policy's tokenizer, log-probs are natural logarithms (nats), and shapes are in tokens.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from int_lightning.defects import Defect

TokenIds = NDArray[np.int32]
"""[T] tokens of a sequence."""

TokenValues = NDArray[np.float32]
"""[T] a number for each token: its log-prob in nats, its weight in the loss."""

Finish = Literal["stop", "length"]
"""Why a completion ended: the model sampled an end token, or the length limit cut it off."""

EngineName = Literal["vllm", "transformers", "server", "given"]
"""What drew a completion; ``given`` is a text that came from a file."""

Status = Literal["solved", "hard", "waiting"]
"""What collection found: an attempt was right; none was, and all stages are done; the oracle still owes an answer."""

SpanName = Literal["prompt", "prefix", "intervention", "suffix", "solution", "end"]
"""What the tokens of a training row are; ``end`` is the one that ends the assistant's turn."""


class UserError(Exception):
    """A mistake the user can fix: the message says what is wrong, where (file, row, key) and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem x with its reference solution y* and final answer.

    Args:
        id: Unique in its collection.
        problem: The text of x.
        solution: The text of y*; empty where the source has none, and collection then refuses the problem.
        answer: The final answer, as the grader reads it.
        source: Where it came from, for instance a file.

    Example:
        Problem("gsm8k-7", "What is 2 + 3?", "2 + 3 = 5.", "5", source="gsm8k.jsonl")
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
        temperature: Divides the logits; 0 is greedy.
        top_p: Nucleus mass, in (0, 1], of what top_k keeps.
        top_k: Keep the k likeliest tokens; 0 keeps all.

    Example:
        Sampling(max_tokens=16384, temperature=0.7, top_p=0.8, top_k=20)
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

    @property
    def truncates(self) -> bool:
        """Whether some tokens are never drawn, whatever their probability."""
        return self.top_p < 1 or self.top_k > 0


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
        token_ids: What was sampled, int32, shape (length,); the end token is the last where one was sampled.
        logprobs: Of these tokens under the distribution that they were drawn from, float32, shape (length,), in nats: logits
            divided by the temperature, truncated by top_k and top_p, and normalised. Greedy tokens have that of the whole
            distribution at temperature 1.
        finish: Why it ended.

    Example:
        Completion(token_ids=[12, 7, 2], logprobs=[-0.1, -1.3, 0.0], finish="stop")
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
        fingerprint: Hash of its weights, in hex; the address of a server whose weights are not at hand.
        engine: What drew it.
        template: Prompt template and version, as ``solve@1f2e3d4c``.
        sampling: The sampling parameters.
        seed: The seed of this completion, 63 bits; -1 where none was sent.
        ends: Ids of the tokens that end a completion, shape (end tokens,).

    Example:
        Provenance("mini", "9f86d081884c7d65", "vllm", "solve@1f2e3d4c", Sampling(), seed=7, ends=[2])
    """

    model: str
    fingerprint: str
    engine: EngineName
    template: str
    sampling: Sampling
    seed: int
    ends: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Rollout(WithArrays):
    """One sampled solution attempt y ~ pi(.|x), with the very tokens and log-probs it was sampled with.

    A guided rollout continues after a prefix y_<t, with or without an intervention.

    Args:
        id: ``OWNER/STAGE/SAMPLE``; the owner is the problem, or the intervention that a guided rollout continues.
        problem_id: The problem x.
        sample: Number among the rollouts of its owner and stage, from 0.
        prompt_ids: What it continues: the prompt, and for a guided rollout the prefix; int32, shape (prompt,).
        token_ids: What was sampled, int32, shape (length,); the end token is the last where one was sampled.
        logprobs: Of the sampled tokens under the distribution that they were drawn from, float32, shape (length,), in nats; see
            ``Completion``.
        text: What the tokens say, for a guided rollout with its prefix.
        finish: Why it ended.
        answer: Its final answer as extracted, "" if there is none.
        correct: The grade of that answer.
        provenance: The policy it was drawn from.
        parent: The intervention that a guided rollout continues, "" for others.

    Example:
        Rollout(
            id="gsm8k-7/attempt/0",
            problem_id="gsm8k-7",
            sample=0,
            prompt_ids=[1, 40, 41],
            token_ids=[12, 7, 2],
            logprobs=[-0.1, -1.3, 0.0],
            text="2 + 3 = 6",
            finish="stop",
            answer="6",
            correct=False,
            provenance=Provenance("mini", "9f86d081884c7d65", "vllm", "solve@1f2e3d4c", Sampling(), seed=7, ends=[2]),
        )
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
    """What an oracle said of one wrong attempt, and what was parsed from it.

    Args:
        id: ``ROLLOUT/ORACLE/SAMPLE``.
        problem_id: The problem x.
        rollout_id: The wrong attempt.
        sample: Number among the proposals for this attempt, from 0; the oracle's order of preference.
        oracle: Name of the oracle.
        raw: All that it said.
        location: Index of the first wrong step, from 0; -1 where none was given.
        content: The step to put in its place, "" where none was given.
        defect: Why it cannot be used, None if it can.
        provenance: The model that was asked, None for a program or a person.

    Example:
        Proposal(
            id="gsm8k-7/attempt/0/policy/0",
            problem_id="gsm8k-7",
            rollout_id="gsm8k-7/attempt/0",
            sample=0,
            oracle="policy",
            raw='Step 1 is wrong. <intervention>{"location": 1, "content": "2 + 3 = 5"}</intervention>',
            location=1,
            content="2 + 3 = 5",
            defect=None,
        )
    """

    id: str
    problem_id: str
    rollout_id: str
    sample: int
    oracle: str
    raw: str
    location: int
    content: str
    defect: Defect | None
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Intervention:
    """One replacement step for the first wrong step t* of a rollout: (x, y_<t*, intervention).

    Args:
        id: ``PROPOSAL/intervention``.
        problem_id: The problem x.
        rollout_id: The wrong attempt y.
        proposal_id: The proposal it was parsed from.
        location: t*, the index of the step it replaces, from 0; -1 where none was given.
        steps: How many steps the attempt has.
        content: The replacement, as text.
        prompt_ids: Of the attempt, int32, shape (prompt,).
        prefix_ids: y_<t*, a slice of the attempt's own tokens, int32, shape (prefix,).
        intervention_ids: The replacement and what ends a step, int32, shape (intervention,).
        exact: Whether the cut falls on the step's boundary; where it does not, the boundary lies inside the prefix's last token.
        rejected: Why it is not trained on, None if it is.
        guided_correct: Right ones among the rollouts from prefix + intervention.
        guided_total: How many were drawn; 0 where it was rejected before.
        prefix_correct: Right ones among the rollouts from the prefix alone.
        prefix_total: How many were drawn.

    Example:
        Intervention(
            id="gsm8k-7/attempt/0/policy/0/intervention",
            problem_id="gsm8k-7",
            rollout_id="gsm8k-7/attempt/0",
            proposal_id="gsm8k-7/attempt/0/policy/0",
            location=1,
            steps=3,
            content="2 + 3 = 5",
            prompt_ids=[1, 40, 41],
            prefix_ids=[12],
            intervention_ids=[9, 5],
            exact=True,
            guided_correct=30,
            guided_total=32,
            prefix_correct=0,
            prefix_total=32,
        )
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
    rejected: Defect | None = None
    guided_correct: int = 0
    guided_total: int = 0
    prefix_correct: int = 0
    prefix_total: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What collection did with one problem; where it has several, the last counts.

    Args:
        problem_id: The problem x.
        source: Where that came from.
        status: What was found of it; it waits where a server failed, or a person has not written yet.
        attempts: Rollouts of the hard filter.
        correct: Right ones among them.
        tokens: Sampled tokens of all its rollouts.
        proposals: How many an oracle made.
        accepted: Interventions that are trained on.
        naive_correct: Right ones among fresh rollouts from the bare problem.
        naive_total: How many of these were drawn.

    Example:
        Outcome("gsm8k-7", "gsm8k.jsonl", "hard", attempts=64, correct=0, tokens=9000, proposals=4, accepted=1)
    """

    problem_id: str
    source: str
    status: Status
    attempts: int
    correct: int
    tokens: int
    proposals: int = 0
    accepted: int = 0
    naive_correct: int = 0
    naive_total: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of a training row that are alike.

    Args:
        name: What they are.
        tokens: How many.
        weight: Of each of them in the loss; 0 is not trained on.

    Example:
        Span("prefix", tokens=12, weight=1.0)
    """

    name: SpanName
    tokens: int
    weight: float


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A training row. The weight of token i applies to predicting token i from those before it.

    Args:
        id: Of the record it was made of.
        problem_id: The problem x.
        token_ids: Prompt and what follows it, int32, shape (length,).
        spans: What these tokens are, in order; their lengths add up to ``length``.

    Raises:
        UserError: naming the row, if the spans are not those of its tokens, if a prompt carries loss or follows anything, if a
            weight is below 0 or not finite, or if nothing is trained on.

    Example:
        SFTExample(
            id="gsm8k-7/attempt/0/policy/0/intervention",
            problem_id="gsm8k-7",
            token_ids=[1, 40, 41, 12, 9, 5],
            spans=[Span("prompt", 3, 0.0), Span("prefix", 1, 1.0), Span("intervention", 2, 1.0)],
        )
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
            raise UserError(f"row {self.id!r} has a loss weight that is not finite: give 0 or more")
        if not any(self.loss_weights[1:]):
            raise UserError(f"row {self.id!r} would train on no token: remove it or check its spans")

    @property
    def loss_weights(self) -> list[float]:
        """The weight of each token, shape (length,)."""
        weights: list[float] = []
        for span in self.spans:
            weights += [span.weight] * span.tokens
        return weights


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one prompt in one GRPO step.

    Args:
        problem_id: The problem x.
        rollouts: G of its prompt; those whose reward could not be computed are left out.
        rewards: r_i of each, float64, shape (rollouts,).
        advantages: A_i of each, float64, shape (rollouts,): ``r_i - mean_j r_j``, or as ``GroupConfig.advantage`` says.

    Example:
        Group(problem_id="gsm8k-7", rollouts=[], rewards=[], advantages=[])
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

"""The records that flow from problems to a trained model.

Problem -> Rollout -> (graded, hard filter) -> Proposal -> Intervention -> SFTExample, and Problem -> Group for GRPO.
Every record names what it came from, so that a trained token can be traced to the output it was parsed from.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine returns for one prompt: token ids, their float32 log-probs, and why it ended.

    ``token_ids`` includes the end-of-sequence token where one was sampled (``finish == "stop"``).
    """

    token_ids: list[int]
    logprobs: list[float]
    finish: str  # "stop" or "length"


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


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled solution attempt y ~ pi(.|x), with the very tokens and log-probs it was sampled with.

    ``correct`` is the grade of its final answer, ``answer`` the final answer as extracted ("" if there is none).
    A guided rollout continues after a prefix; its prompt_ids hold prompt and prefix, and ``parent`` names the
    intervention.
    """

    id: str
    problem_id: str
    sample: int
    prompt_ids: list[int]
    token_ids: list[int]
    logprobs: list[float]
    text: str
    finish: str
    answer: str
    correct: bool
    provenance: Provenance
    parent: str = ""


class DefectKind(StrEnum):
    """Why a proposal or an intervention cannot be used. The values are what datasets and tables of results say."""

    # The attempt cannot be taken to an oracle.
    NO_REFERENCE = "the problem has no reference solution to compare it with"
    ONE_STEP = "the attempt has one step only"
    EQUALS_REFERENCE = "the attempt equals the reference solution but was graded wrong"
    TOO_LONG = "the conversation is too long for the context"

    # The oracle has not answered yet, or its answer names no step and replacement.
    WAITING = "waiting"
    NO_ERROR = "no critical error"
    NO_PROPOSAL = "no proposal"
    TRUNCATED = "truncated"
    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"
    NO_STEP_NUMBER = "no step number"
    OUTSIDE = "outside the attempt"
    NO_CONTENT = "no content"
    REPEATS = "repeats the step"

    # The intervention failed a check.
    LEAK = "it gives the final answer away"
    NOT_KEPT = "another intervention of this attempt was kept"
    UNSAYABLE = "the tokenizer cannot say it"
    NO_ROOM = "no room is left to go on"
    NEVER_RIGHT = "no guided rollout was right"

    OTHER = "other"
    """A reason of an oracle that is not one of ours."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Why a proposal or an intervention cannot be used; datasets hold it as the text ``kind: detail``."""

    kind: DefectKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else str(self.kind)

    @classmethod
    def parse(cls, text: str) -> Defect | None:
        """The defect that a text of a dataset stands for; None for "". A kind that is not known is ``OTHER``."""
        if not text:
            return None
        kind, _, detail = text.partition(": ")
        try:
            return cls(DefectKind(kind), detail)
        except ValueError:
            return cls(DefectKind.OTHER, text)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An oracle's raw word on one wrong attempt, and what was parsed from it.

    ``location`` is the index of the first wrong step (-1 where none was given), ``content`` the step to put in its
    place, ``defect`` why it cannot be used (None if it can).
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

    ``prefix_ids`` is a slice of the rollout's own tokens. ``exact`` says whether the cut falls on the step boundary; where
    it does not, the boundary lies inside the prefix's last token. ``rejected`` is the reason it is not trained on, None if it is.
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
    rejected: Defect | None = None
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
    """The rollouts of one prompt in one GRPO step, with rewards r_i and advantages A_i = r_i - mean_j r_j."""

    problem_id: str
    rollouts: list[Rollout]
    rewards: list[float]
    advantages: list[float] = field(default_factory=list)

    @property
    def zero_advantage(self) -> bool:
        """Whether no rollout of the group gives a gradient."""
        return not any(self.advantages)


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on nothing else: (run seed, stage or step, problem, sample)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1

"""Why a proposal or an intervention cannot be used: its kind, by which they are counted, and the details."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    """Why a proposal or an intervention cannot be used; datasets hold it as the text ``kind: detail``.

    Args:
        kind: What counts and tables go by.
        detail: What was found, "" where the kind says it all.

    Example:
        Defect(DefectKind.OUTSIDE, "step 9 of 4")
    """

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


class DefectError(Exception):
    """Raised inside the reading of a proposal that cannot be used."""

    def __init__(self, kind: DefectKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.defect = Defect(kind, detail)

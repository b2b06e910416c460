"""Answers of a server on disk: what was answered once is never paid for twice, however a run ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from int_lightning.run_files import written
from int_lightning.types import UserError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, the model that it names and whether the length limit cut it short; or why there is no answer (a kind
    and its detail)."""

    text: str = ""
    model: str = ""
    failure: str = ""
    cut: bool = False


class KeptAnswers:
    """Answers by question in a JSONL file, appended one by one; without a file nothing is kept.

    Args:
        path: The file, made where it is missing. A line that a kill cut short is skipped.

    Raises:
        UserError: if it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                offset, line = file.seek(0), b""
                for line in file:
                    if (record := _record_of(line)) is not None:
                        self._offsets[record["question"]] = offset
                    offset += len(line)
                if line and not line.endswith(b"\n"):
                    file.write(b"\n")
        except OSError as error:
            raise UserError(f"answers {path} cannot be written ({error.strerror}): give another file") from error

    def find(self, question: object) -> Answer | None:
        """The answer to a question, if it was kept by an earlier run."""
        if self._path is None or (offset := self._offsets.get(_digest(question))) is None:
            return None
        with self._path.open("rb") as file:
            file.seek(offset)
            record = json.loads(file.readline())
        return Answer(record["text"], record["model"], cut=record.get("cut", False))

    def keep(self, question: object, answer: Answer) -> None:
        """Appends the answer to a question."""
        if self._path is not None:
            record = {"question": _digest(question), "model": answer.model, "text": answer.text, "cut": answer.cut}
            with written(self._path), self._path.open("ab") as file:
                file.write(json.dumps(record).encode() + b"\n")


def _record_of(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and {"question", "model", "text"} <= record.keys() else None


def _digest(question: object) -> str:
    return hashlib.blake2b(json.dumps(question).encode(), digest_size=16).hexdigest()

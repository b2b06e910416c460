"""Answers of a server on disk: what was answered once is never paid for twice, however a run ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from int_lightning.json_lines import json_object
from int_lightning.run_files import append_lines, written
from int_lightning.types import UserError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, or why it did not answer.

    Args:
        text: What it said.
        model: The model that it names.
        failure: Why it did not answer, "" if it did.
        cut: Whether the length limit cut it short.
    """

    text: str = ""
    model: str = ""
    failure: str = ""
    cut: bool = False


class AnswerCache:
    """Answers by question in a JSONL file, appended one by one; without a file nothing is kept.

    Args:
        path: The file, made where it is missing. A line that a kill cut short is skipped.

    Raises:
        UserError: if it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offsets: dict[str, int] = {}  # of each question's line; the answers stay on disk
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            append_lines(path, [])
            offset = 0
            with path.open("rb") as file:
                for line in file:
                    record = _read(line)
                    if record is not None:
                        self._offsets[record["question"]] = offset
                    offset += len(line)
        except OSError as error:
            raise UserError(f"answers {path} cannot be written ({error.strerror}): give another file") from error

    def find(self, question: object) -> Answer | None:
        """The answer to a question, if an earlier run kept one."""
        offset = self._offsets.get(_digest(question))
        if self._path is None or offset is None:
            return None
        with self._path.open("rb") as file:
            file.seek(offset)
            record = json.loads(file.readline())
        return Answer(record["text"], record["model"], cut=record.get("cut", False))

    def keep(self, question: object, answer: Answer) -> None:
        """Appends the answer to a question."""
        if self._path is not None:
            record = {"question": _digest(question), "model": answer.model, "text": answer.text, "cut": answer.cut}
            with written(self._path):
                append_lines(self._path, [json.dumps(record)])


def _read(line: bytes) -> dict[str, Any] | None:
    """The record in a line, None if it is not a whole one."""
    try:
        record = json_object(line)
    except UserError:
        return None
    return record if {"question", "model", "text"} <= record.keys() else None


def _digest(question: object) -> str:
    return hashlib.blake2b(json.dumps(question).encode(), digest_size=16).hexdigest()

"""A person as oracle: attempts are written to a file, the person fills in where each goes wrong, the next run reads it back.

The file is JSONL, one attempt a line. Its keys: ``id``; ``location`` and ``content``, to be filled in; ``problem``, ``reference``
and ``steps``, to be read; ``seal``, a hash of what must not be changed. ``location`` is

- ``null`` while the attempt waits for its annotation,
- the number of the first wrong step, with the step that should stand there as ``content``, or
- ``"none"`` if the person finds no step that can be corrected.

A run only ever adds lines to the file: what a person wrote is never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from int_lightning.defects import Defect, DefectKind
from int_lightning.json_lines import append_lines, json_object, numbered_lines
from int_lightning.oracles.base import Attempt, Oracle
from int_lightning.rollout_sampler import RolloutSampler
from int_lightning.types import Proposal, UserError

NO_ERROR_FOUND = "none"
_KEYS = ("id", "location", "content", "problem", "reference", "steps", "seal")
_DEFECTS_SHOWN = 20
_NUMBERED = re.compile(r"Step \d+: ?")
_LATEX_READ_AS_ESCAPE = re.compile(r"[\x08\x0c\r\t]|\n(?=eq|abla|otin|u\b|mid)")


class AnnotationOracle(Oracle):
    """One proposal an attempt, from a file that a person fills in. Attempts that are not in it yet are added; they wait until
    they are filled in, and the run can be started again at any time.

    Args:
        file: The file of attempts and annotations, made where it is missing.
        annotator: Who fills it in; the oracle's name is ``person:ANNOTATOR``.

    Raises:
        UserError: naming file, row and key of everything in the file that is wrong.
    """

    def __init__(self, file: str, annotator: str = "anonymous") -> None:
        self.file = Path(file)
        self.name = f"person:{annotator}"
        self._records = read_annotations(self.file)

    async def propose(self, attempts: Sequence[Attempt], sampler: RolloutSampler) -> list[list[Proposal]]:
        """See ``Oracle.propose``.

        Raises:
            UserError: if the file holds an attempt of the same id from another collection.
        """
        blank = {a.rollout.id: blank_record(a) for a in attempts if a.rollout.id not in self._records}
        append_records(self.file, list(blank.values()))
        self._records |= blank
        return [[self._proposal(a, self._records[a.rollout.id])] for a in attempts]

    def _proposal(self, attempt: Attempt, record: dict[str, Any]) -> Proposal:
        if record["seal"] != blank_record(attempt)["seal"]:
            raise UserError(
                f"{self.file}: the record with id {attempt.rollout.id!r} belongs to an attempt of another collection: give each "
                "collection a file of its own"
            )
        location, content = record["location"], record["content"].strip()
        if location is None:
            waiting = Defect(DefectKind.WAITING, f"not annotated in {self.file}")
            return replace(self.proposal(attempt, 0, ""), defect=waiting)
        if location == NO_ERROR_FOUND:
            return self.proposal(attempt, 0, "<intervention>{}</intervention>")
        body = json.dumps({"location": location, "content": content}, ensure_ascii=False)
        proposal = self.proposal(attempt, 0, f"<intervention>{body}</intervention>")
        return replace(proposal, location=location, content=content, defect=None)


def blank_record(attempt: Attempt) -> dict[str, Any]:
    """An attempt as a person gets it."""
    record: dict[str, Any] = {
        "id": attempt.rollout.id,
        "location": None,
        "content": "",
        "problem": attempt.problem.problem,
        "reference": attempt.problem.solution,
        "steps": [f"Step {i}: {step.strip()}" for i, step in enumerate(attempt.steps)],
    }
    return record | {"seal": _seal(record)}


def append_records(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Adds records at the end of a file, each on a line of its own.

    Raises:
        UserError: if it cannot be written.
    """
    if not records:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_lines(path, (json.dumps(r, ensure_ascii=False) for r in records))
    except OSError as error:
        raise UserError(f"{path}: attempts cannot be written to it ({error.strerror}): give another file") from error


def read_annotations(path: Path) -> dict[str, dict[str, Any]]:
    """The records of a file by attempt; none if the file does not exist.

    Raises:
        UserError: naming row and key of everything that is wrong in it, up to 20 defects.
    """
    if not path.exists():
        return {}
    records: dict[str, dict[str, Any]] = {}
    rows: dict[str, int] = {}
    defects: list[str] = []
    for row, line in numbered_lines(path):
        record, wrong = _read(line)
        if not wrong and record["id"] in rows:
            wrong = [f"key id: attempt {record['id']!r} is in row {rows[record['id']]} already; remove one of them"]
        defects += [f"row {row}, {w}" for w in wrong]
        if not wrong:
            records[record["id"]], rows[record["id"]] = record, row
    if defects:
        more = f"\n  and {len(defects) - _DEFECTS_SHOWN} more" if len(defects) > _DEFECTS_SHOWN else ""
        listed = "".join(f"\n  {d}" for d in defects[:_DEFECTS_SHOWN])
        many = "1 defect" if len(defects) == 1 else f"{len(defects)} defects"
        raise UserError(f"{path}: {many} in what was filled in:{listed}{more}")
    return records


def _read(line: str) -> tuple[dict[str, Any], list[str]]:
    """A record and what is wrong with it."""
    try:
        record = json_object(line)
    except UserError as error:
        return {}, [str(error)]
    if missing := [k for k in _KEYS if k not in record]:
        return {}, [f"key {missing[0]}: missing; restore the row or remove it, and the attempt is added again"]
    if record["seal"] != _seal(record):
        return {}, [
            "key seal: id, problem, reference or steps were changed; remove the row, and the attempt is added again"
        ]
    return record, _wrong_annotation(record["location"], record["content"], record["steps"])


def _wrong_annotation(location: object, content: object, steps: Sequence[str]) -> list[str]:
    if not isinstance(content, str):
        return [f"key content: {content!r:.40} is not a text"]
    if location is None or location == NO_ERROR_FOUND:
        lost = f"key content: given, while location is {json.dumps(location)}; give the number of the step that it replaces"
        return [lost] if content.strip() else []
    if isinstance(location, bool) or not isinstance(location, int):
        return [f'key location: {location!r:.40} is neither a step number nor null nor "{NO_ERROR_FOUND}"']
    if not 0 <= location < len(steps):
        return [f"key location: step {location} does not exist; the steps are 0 to {len(steps) - 1}"]
    if not content.strip():
        return ["key content: empty; write the step to put in that place"]
    if number := _NUMBERED.match(content.strip()):
        return [f"key content: begins with {number[0].strip()!r}; leave the number out"]
    if content.strip() == _NUMBERED.sub("", steps[location], count=1):
        return [f"key content: the same as step {location}, which it replaces"]
    if _LATEX_READ_AS_ESCAPE.search(content):
        return ["key content: a backslash was read as an escape, as in \\frac for a form feed; write it twice"]
    if any("\ud800" <= c <= "\udfff" for c in content):
        return ["key content: holds half a character; write it again"]
    return []


def _seal(record: dict[str, Any]) -> str:
    sealed = json.dumps([record[k] for k in ("id", "problem", "reference", "steps")])
    return hashlib.blake2b(sealed.encode(), digest_size=8).hexdigest()

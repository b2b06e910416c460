"""``int-lightning grade``: the grader's verdicts on pairs of answers in a file, and how many agree with their labels."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.markup import escape

from int_lightning.arguments import Arguments
from int_lightning.console import exit_status, progress, say, show_table
from int_lightning.grading.answers import Verdict
from int_lightning.grading.grader import Grader
from int_lightning.json_lines import json_object, numbered_lines
from int_lightning.run_files import RESULTS, write_whole
from int_lightning.types import UserError

_AT_ONCE = 1000
_SHOWN = 10
_ALL = "all"


@dataclass(frozen=True, slots=True)
class AnswerPair:
    """One row: a predicted and a gold answer, their label (whether they are equal, None without a label), and a tier."""

    row: int
    pred: str
    gold: str
    expected: bool | None
    tier: str


@dataclass(slots=True)
class Agreement:
    """Counts for a tier: pairs, those found equal, those with a label, and how verdicts and labels compare.

    ``undecided`` counts the pairs whose verdict has a note: unreadable, a timeout, a crash.
    """

    pairs: int = 0
    equal: int = 0
    labelled: int = 0
    agree: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    undecided: int = 0

    def add(self, pair: AnswerPair, verdict: Verdict) -> None:
        """Count one pair."""
        self.pairs += 1
        self.equal += verdict.equal
        self.undecided += bool(verdict.note)
        if pair.expected is not None:
            self.labelled += 1
            self.agree += verdict.equal == pair.expected
            self.false_positives += verdict.equal and not pair.expected
            self.false_negatives += pair.expected and not verdict.equal


def main(args: Sequence[str]) -> int:
    """Runs ``int-lightning grade``; returns the exit status."""

    def run() -> None:
        given = _parser().parse_args(args)
        _grade(Path(given.file), given.out and Path(given.out), given.workers, given.timeout)

    return exit_status(run)


def _parser() -> Arguments:
    parser = Arguments(
        prog="int-lightning grade",
        description="Compare final answers, and count agreement with their labels. Rows without a pair are named and left out.",
    )
    parser.add_argument(
        "file",
        help="JSONL with the keys pred and gold, and optionally expected or label (true if they are equal) and tier",
    )
    parser.add_argument(
        "--out", help="folder for grades.jsonl (every verdict) and results.json (counts, disagreements)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=5.0, help="processor seconds for a pair (default: %(default)s)"
    )
    return parser


def _grade(file: Path, out: Path | None, workers: int, timeout: float) -> None:
    pairs, bad = read_pairs(file)
    for message in bad[:_SHOWN]:
        say(f"[yellow]left out:[/] {escape(message)}")
    if len(bad) > _SHOWN:
        say(f"[yellow]left out:[/] {len(bad) - _SHOWN} more rows")
    if not pairs:
        raise UserError(f"{file}: has no pair of answers: give one JSON object per line, with the keys pred and gold")
    if out is not None:
        _make(out)
    began = time.perf_counter()
    verdicts: list[Verdict] = []
    with Grader(workers, timeout) as grader, progress("grade", len(pairs), "pairs") as advance:
        for start in range(0, len(pairs), _AT_ONCE):
            some = pairs[start : start + _AT_ONCE]
            verdicts += grader.equivalent([pair.pred for pair in some], [pair.gold for pair in some])
            advance(len(some), "")
    seconds = time.perf_counter() - began
    tiers = agreement(pairs, verdicts)
    columns = ["tier", "pairs", "equal", "labelled", "agree", "false positives", "false negatives", "undecided"]
    show_table("Agreement", columns, [[tier, *map(str, asdict(counts).values())] for tier, counts in tiers.items()])
    rate = 60 * len(pairs) / seconds
    say(f"{len(pairs)} pairs in {seconds:.1f} s, {rate:,.0f} a minute, {workers} workers; {len(bad)} rows left out")
    if out is not None:
        speed = {"seconds": seconds, "pairs_per_minute": rate, "workers": workers, "timeout": timeout}
        _write(out, pairs, verdicts, {"file": str(file), "bad_rows": bad, **speed}, tiers)


def read_pairs(file: Path) -> tuple[list[AnswerPair], list[str]]:
    """The pairs of a JSONL file, and a message for each row that has none.

    Raises:
        UserError: if the file cannot be read.
    """
    pairs: list[AnswerPair] = []
    bad: list[str] = []
    for row, line in numbered_lines(file):
        try:
            pairs.append(_pair(row, json_object(line)))
        except UserError as error:
            bad.append(f"row {row}: {error}")
    return pairs, bad


def _pair(row: int, fields: Mapping[str, object]) -> AnswerPair:
    label = "expected" if "expected" in fields else "label"
    expected = fields.get(label)
    if expected not in (None, True, False):
        raise UserError(f"key '{label}' is {json.dumps(expected)}, not true or false")
    expected = None if expected is None else bool(expected)
    return AnswerPair(row, _text(fields, "pred"), _text(fields, "gold"), expected, str(fields.get("tier", _ALL)))


def _text(fields: Mapping[str, object], key: str) -> str:
    if key not in fields:
        raise UserError(f"key '{key}' is missing")
    value = fields[key]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"key '{key}' is {'null' if value is None else type(value).__name__}, not text")
    return str(value)


def agreement(pairs: Sequence[AnswerPair], verdicts: Sequence[Verdict]) -> dict[str, Agreement]:
    """Counts by tier in the order of their first rows, then of all pairs if there are several tiers."""
    tiers: dict[str, Agreement] = {}
    whole = Agreement()
    for pair, verdict in zip(pairs, verdicts, strict=True):
        tiers.setdefault(pair.tier, Agreement()).add(pair, verdict)
        whole.add(pair, verdict)
    return tiers if len(tiers) == 1 else {**tiers, _ALL: whole}


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out} cannot be made: {error.strerror}. Choose another folder") from error


def _write(
    out: Path,
    pairs: Sequence[AnswerPair],
    verdicts: Sequence[Verdict],
    results: Mapping[str, object],
    tiers: Mapping[str, Agreement],
) -> None:
    grades = [
        {"row": pair.row, "verdict": verdict.equal, "note": verdict.note, "expected": pair.expected, "tier": pair.tier}
        for pair, verdict in zip(pairs, verdicts, strict=True)
    ]
    wrong = [grade["row"] for grade in grades if grade["expected"] not in (None, grade["verdict"])]
    counts = {tier: asdict(found) for tier, found in tiers.items()}
    write_whole(out / "grades.jsonl", "".join(json.dumps(grade) + "\n" for grade in grades))
    text = json.dumps({**results, "tiers": counts, "disagreements": wrong}, indent=2, ensure_ascii=False)
    write_whole(out / RESULTS, text + "\n")
    say(escape(f"{len(wrong)} disagreements; every verdict is in {out / 'grades.jsonl'}"))

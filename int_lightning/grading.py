r"""Whether a completion's final answer is right: the last ``\boxed{}``, compared in meaning with the gold answer.

Equal texts and plain numbers are decided in this process; everything else goes to worker processes, where a
comparison that hangs or crashes costs its time limit and one worker, and nothing else.
"""

from __future__ import annotations

import multiprocessing
import re
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection, wait
from types import TracebackType

from int_lightning.grading_worker import serve
from int_lightning.types import UserError

MAX_ANSWER = 2000
"""Longest answer that is compared, in characters."""

_BATCH = 16
_CACHE = 200_000
_GRACE = 0.5  # seconds past the limit for a worker to interrupt itself before it is killed
_START = 120.0  # seconds for a worker to load its libraries
_BROKEN = 3  # worker starts in a row that may fail

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_LABELLED = re.compile(r"\s*(?:####|(?:the )?(?:final )?(?:answer(?: is)?|a)\s*:)\s*(.+)", re.IGNORECASE)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}\\]*)\}")
_FRAC = re.compile(r"\\[dt]frac(?![a-zA-Z])")
_SIZED = re.compile(r"\\(?:left|right)(?![a-zA-Z])\s*")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,|\{,\}|\\,|\\!,)\d{3})+(?:\.\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two answers are equal, and why that could not be said ("" if it could).

    ``note`` is "empty", "too long", "unparsable", "timeout", "crash" or "failed: <error>"; ``equal`` is False then.
    """

    equal: bool
    note: str = ""


def extract_answer(text: str) -> str:
    r"""The content of the last ``\boxed{}`` or ``\fbox{}``; "" if there is none or its braces do not balance.

    Escaped braces (``\{``) do not count. Linear in the length of the text.
    """
    start = max((box.end() for box in _BOXED.finditer(text)), default=len(text))
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()].strip()
    return ""


def _unwrap(answer: str) -> str:
    """The answer without label, math delimiters, enclosing box and final period."""
    answer = answer.strip()
    if label := _LABELLED.fullmatch(answer.rpartition("\n")[2]):
        answer = label[1]
    while True:
        before = answer
        if answer.startswith((r"\boxed", r"\fbox")) and answer.endswith("}"):
            answer = extract_answer(answer) or answer
        for left, right in _DELIMITERS:
            if answer.startswith(left) and answer.endswith(right) and len(answer) > len(left) + len(right):
                inside = answer[len(left) : -len(right)]
                answer = answer if left in inside else inside.strip()
        if answer.endswith(".") and not answer.endswith(".."):
            answer = answer[:-1].rstrip()
        if answer == before:
            return answer


def normalise(answer: str) -> str:
    r"""The answer without what never changes its meaning.

    A label in its last line (``Answer: 5``, ``#### 5``), math delimiters, an enclosing box, ``\text{}``, a final
    period, runs of spaces, thousands separators, ``\dfrac`` for ``\frac``, ``\left`` and ``\right``.
    """
    answer = _FRAC.sub(r"\\frac", _TEXT.sub(r"\1", _unwrap(answer)))
    answer = " ".join(_SIZED.sub("", answer).split())
    return re.sub(r"[^\d.+-]", "", answer) if _THOUSANDS.fullmatch(answer) else answer


def check_gold(answer: str) -> None:
    """Refuse a gold answer that nothing can equal: an empty one, one too long to compare, one with unbalanced braces."""
    if not answer.strip():
        raise UserError("the gold answer is empty: give the final answer, or leave the problem out")
    if len(answer) > MAX_ANSWER:
        raise UserError(
            f"the gold answer has {len(answer)} characters, more than {MAX_ANSWER}: give the final answer alone, "
            "without its solution"
        )
    if extract_answer(rf"\boxed{{{answer}}}") != answer.strip():
        raise UserError(f"the gold answer {answer!r} does not parse, its braces do not balance: correct it")


def _decide(pred: str, gold: str) -> Verdict | None:
    """The verdict where no parser is needed, else None."""
    if not pred.strip() or not gold.strip():
        return Verdict(False, "empty")
    if len(pred) > MAX_ANSWER or len(gold) > MAX_ANSWER:
        return Verdict(False, "too long")
    if pred == gold:
        return Verdict(True)
    ours, theirs = normalise(pred), normalise(gold)
    if ours == theirs:
        return Verdict(True)
    if _NUMBER.fullmatch(ours) and _NUMBER.fullmatch(theirs):
        return Verdict(Fraction(ours) == Fraction(theirs))
    return None


class _Worker:
    """One worker process, the pairs it was sent and has not answered, and when the first of them is overdue."""

    def __init__(self, timeout: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, timeout), daemon=True, name="grading-worker")
        self.process.start()
        theirs.close()
        self.limit = timeout + _GRACE
        self.ready = False
        self.pending: deque[Pair] = deque()
        self.deadline = time.monotonic() + _START

    def send(self, pairs: list[Pair]) -> None:
        """Give an idle worker its next pairs; one that has died shows when it is read from."""
        self.pending.extend(pairs)
        self.deadline = time.monotonic() + self.limit
        try:
            self.connection.send([(_unwrap(pred), _unwrap(gold)) for pred, gold in pairs])
        except OSError:
            return

    def receive(self) -> tuple[bool, str] | None:
        """The next message: None for ready, or the verdict on the first pending pair. EOFError if the worker died."""
        try:
            message: tuple[bool, str] | None = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        self.deadline = time.monotonic() + self.limit
        return message

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class Grader:
    """Compares final answers. Use it as a context manager, or close it; its workers start when first needed.

    The main module of a program that grades is imported by each worker, so it must guard its work by
    ``if __name__ == "__main__"`` and is best kept light.

    Args:
        workers: Worker processes.
        timeout: Seconds for one pair of answers.

    Attributes:
        timeouts: Pairs given up for time.
        crashes: Pairs given up because their worker died.
    """

    def __init__(self, workers: int = 1, timeout: float = 5.0) -> None:
        if workers < 1:
            raise UserError(f"grading workers is {workers}: give at least 1")
        if timeout <= 0:
            raise UserError(f"grading timeout is {timeout}: give a number of seconds above 0")
        self.timeout = timeout
        self.timeouts = 0
        self.crashes = 0
        self._wanted = workers
        self._workers: list[_Worker] = []
        self._cache: OrderedDict[Pair, Verdict] = OrderedDict()
        self._failed_starts = 0

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """Whether each completion's boxed answer equals its gold answer; one without an answer is wrong."""
        return [verdict.equal for verdict in self.equivalent([extract_answer(text) for text in texts], golds)]

    def equivalent(self, preds: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """The verdict on each pair. A pair given twice is compared, and counted in ``timeouts``, once."""
        pairs = list(zip(preds, golds, strict=True))
        verdicts: dict[Pair, Verdict] = {}
        hard: list[Pair] = []
        for pair in dict.fromkeys(pairs):
            verdict = self._cached(pair) or _decide(*pair)
            if verdict is None:
                hard.append(pair)
            else:
                verdicts[pair] = verdict
        if hard:
            verdicts.update(self._work(hard))
        return [verdicts[pair] for pair in pairs]

    def close(self) -> None:
        """Stop the workers. Grading again starts new ones."""
        while self._workers:
            self._workers.pop().kill()

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _cached(self, pair: Pair) -> Verdict | None:
        if (verdict := self._cache.get(pair)) is not None:
            self._cache.move_to_end(pair)
        return verdict

    def _remember(self, pair: Pair, verdict: Verdict) -> None:
        self._cache[pair] = verdict
        if len(self._cache) > _CACHE:
            self._cache.popitem(last=False)

    def _work(self, pairs: list[Pair]) -> dict[Pair, Verdict]:
        """Have the workers compare pairs; an interruption leaves no worker with an answer nobody waits for."""
        todo = deque(pairs)
        verdicts: dict[Pair, Verdict] = {}
        try:
            while len(verdicts) < len(pairs):
                self._hand_out(todo)
                busy: dict[object, _Worker] = {w.connection: w for w in self._workers if w.pending or not w.ready}
                patience = max(0.0, min(w.deadline for w in busy.values()) - time.monotonic())
                connections: list[Connection] = [w.connection for w in busy.values()]
                answered = wait(connections, patience)
                for connection in answered:
                    self._collect(busy[connection], todo, verdicts)
                for worker in busy.values():
                    if worker.connection not in answered and time.monotonic() > worker.deadline:
                        self._give_up(worker, "timeout", todo, verdicts)
        except BaseException:
            self.close()
            raise
        return verdicts

    def _hand_out(self, todo: deque[Pair]) -> None:
        """Send pairs to every idle worker, with fresh workers for those that died idle."""
        self._workers = [w for w in self._workers if w.pending or not w.ready or w.process.is_alive()]
        while len(self._workers) < min(self._wanted, 1 + len(todo) // _BATCH):
            self._workers.append(_Worker(self.timeout))
        for worker in self._workers:
            if todo and worker.ready and not worker.pending:
                worker.send([todo.popleft() for _ in range(min(_BATCH, len(todo)))])

    def _collect(self, worker: _Worker, todo: deque[Pair], verdicts: dict[Pair, Verdict]) -> None:
        try:
            message = worker.receive()
        except EOFError:
            self._give_up(worker, "crash", todo, verdicts)
            return
        if message is None:
            worker.ready = True
            self._failed_starts = 0
            return
        pair, verdict = worker.pending.popleft(), Verdict(*message)
        self.timeouts += verdict.note == "timeout"
        verdicts[pair] = verdict
        self._remember(pair, verdict)

    def _give_up(self, worker: _Worker, why: str, todo: deque[Pair], verdicts: dict[Pair, Verdict]) -> None:
        """Kill a worker: the pair it was at gets a note, those behind it go back to the queue."""
        worker.kill()
        self._workers.remove(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _BROKEN:
                raise UserError(
                    f"{_BROKEN} grading workers in a row did not start (exit code {worker.process.exitcode}): check "
                    "that math-verify is installed and that the main script guards its work: if __name__ == '__main__'"
                )
            return
        pair = worker.pending.popleft()
        todo.extendleft(reversed(worker.pending))
        verdicts[pair] = Verdict(False, why)
        if why == "timeout":
            self.timeouts += 1
            self._remember(pair, verdicts[pair])
        else:
            self.crashes += 1

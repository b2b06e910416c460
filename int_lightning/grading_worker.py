r"""The worker side of grading: whether two final answers mean the same, by math-verify and a few rules beyond it.

It runs in a process of its own, because a comparison may hang or exhaust memory. It imports math-verify and nothing
heavier, and only once it runs. ``compare`` is the whole decision; ``serve`` is the process's main loop.
"""

from __future__ import annotations

import logging
import re
import resource
import signal
from collections.abc import Callable
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

MEMORY_LIMIT = 4 << 30
"""Address space of a worker, in bytes: an answer that needs more is an error, not a full machine."""

_SYMBOLS = str.maketrans(
    {
        "∞": r"\infty ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∅": r"\emptyset ",
        "√": r"\sqrt ",
        "≤": r"\leq ",
        "≥": r"\geq ",
        "≠": r"\neq ",
        "±": r"\pm ",
        "×": r"\times ",
        "÷": r"\div ",
        "·": r"\cdot ",
        "π": r"\pi ",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "λ": r"\lambda ",
        "°": r"^\circ ",
        "−": "-",
        "–": "-",
        "＜": "<",
        "＞": ">",
        "＝": "=",
        "（": "(",
        "）": ")",
        "，": ",",
        "\f": r"\f",
        "\b": r"\b",  # "\frac" and "\boxed" that went through one unescaping too many
    }
)

_FUNCTION = r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|max|min)"
_REWRITES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\t(?=ext|frac|imes|heta)", r"\\t"),
        (r"\\(?:[bB]igg?|[bB]igg?[lrm])(?![a-zA-Z])", ""),
        (r"(?<!\\)\\(?:displaystyle|limits|!)", ""),
        (r"(?<!\\)\\(?:[ ;:]|q?quad(?![a-zA-Z]))", " "),
        (r"_\s*\{\s*\\(?:text|mathrm|rm)\s*\{([^{}]*)\}\s*\}", r"_{\1}"),
        (r"(?<![a-zA-Z\\])([a-zA-Z])_\s*(?:\{\s*\\([a-zA-Z]+)\s*\}|\\([a-zA-Z]+)(?![a-zA-Z]))", r"\1_{\2\3}"),
        (r"\\(?:text|mathrm|operatorname)\s*\{\s*(" + _FUNCTION + r")\s*\}", r"\\\1"),
        (r"(\\[dt]?frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])", r"\1{\2}"),
        (r"(\d)\s*\^?\s*\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?", r"\1"),
        (r"^\s*(\d+)(?:st|nd|rd|th)(?:\s+[A-Za-z]+)?\s*\.?$", r"\1"),
        (r"(\d)\s*(?:\\ )?\\(?:text|mathrm)\s*\{[^{}]*\b(?:and|or)\s*\}", r"\1, "),
        (r"(\d)\s*(?:\\ )?\\(?:text|mathrm)\s*\{[^{}]*\}\s*(?:\\ )?(?=,)", r"\1"),
        (r"\\left\s*\\\{|\\\{", r"\\{"),
        (r"\\right\s*\\\}|\\\}", r"\\}"),
        (r"^\\\{\s*[a-zA-Z]\s*(?:\||:|\\mid|\\vert)(.*)\\\}$", r"\1"),
    )
]

_NAME = r"\\?[a-zA-Z]+(?:_(?:\{[^{}]*\}|\\?\w+))?'*"
_ASSIGNMENT = re.compile(
    rf"\s*(?P<name>{_NAME}\s*(?:\([^()=]*\))?|\([^=]*\)|\\text\s*\{{[^{{}}]*\}})\s*=(?P<value>[^=<>]+)"
)
_LABEL = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z ]*|\\text\s*\{[^{}]*\})\s*:(?P<value>[^:=<>]+)")
_FUNCTION_OF = re.compile(r"\s*(?P<name>[a-zA-Z])\s*\(\s*(?P<variable>[a-zA-Z])\s*\)\s*=(?P<body>[^=]+)$")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree")
_DECIMAL = re.compile(r"-?(?P<whole>\d+)\.(?P<fraction>\d+)\s*(?P<percent>\\?%)?")
_VECTOR = re.compile(r"\s*\\begin\s*\{[pbv]matrix\}(?P<body>.*)\\end\s*\{[pbv]matrix\}\s*", re.DOTALL)


class _OutOfTime(BaseException):
    """Not an Exception, so that no handler inside the libraries swallows it."""


def rewrite(latex: str) -> str:
    """The same answer in the notation that math-verify's parser knows."""
    latex = latex.translate(_SYMBOLS)
    if r"\begin" not in latex:
        latex = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", latex)
    for pattern, replacement in _REWRITES:
        latex = pattern.sub(replacement, latex)
    return latex.strip()


@lru_cache(maxsize=4096)
def parse(latex: str) -> tuple[Any, ...]:
    """The readings of an answer: sympy objects, then its text as math-verify cleans it; empty if it has none.

    A number is picked out of a text that is no formula only where the text has no other number.
    """
    from math_verify import ExprExtractionConfig, LatexExtractionConfig
    from math_verify import parse as extract

    targets: list[Any] = [LatexExtractionConfig()]
    if len(re.findall(r"\d+(?:[.,/]\d+)*", latex)) <= 1 or not re.search(r"[a-zA-Z]", latex):
        targets.append(ExprExtractionConfig())
    return tuple(extract(rf"\boxed{{{latex}}}", extraction_config=targets, parsing_timeout=None))


def _expression(latex: str) -> Any:
    """The sympy reading of an answer, or None."""
    return next((reading for reading in parse(latex) if not isinstance(reading, str)), None)


def _verified(pred: str, gold: str) -> bool:
    return _same(list(parse(pred)), list(parse(gold)))


def _same(pred: Any, gold: Any) -> bool:
    from math_verify import verify

    return bool(verify(gold, pred, allow_set_relation_comp=True, timeout_seconds=None))


def _items(latex: str) -> list[str]:
    """The parts between top-level commas and semicolons."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(latex):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character in ",;" and depth == 0:
            parts.append(latex[start:i])
            start = i + 1
    return [*parts, latex[start:]]


def _named(latex: str) -> tuple[list[str], list[str]]:
    """Names and values of ``a=1, b=2``, ``A: 1, B: 2`` or ``x=1, 2``; no names where the answer has another form."""
    items = [item.strip() for item in _items(latex)]
    for pattern in (_ASSIGNMENT, _LABEL):
        matches = [pattern.fullmatch(item) for item in items]
        found = [match for match in matches if match]
        if len(found) == len(items):
            return ["".join(match["name"].split()) for match in found], [match["value"].strip() for match in found]
        if len(found) == 1 and (first := matches[0]):
            return ["".join(first["name"].split())] * len(items), [first["value"].strip(), *items[1:]]
    return [], items


def _values(pred: str, gold: str) -> bool:
    """``I = q/2`` is ``q/2`` and ``a = 1, b = 2`` is ``1, 2``, in this order; other names are other claims."""
    (pred_names, pred_values), (gold_names, gold_values) = _named(pred), _named(gold)
    if not (pred_names or gold_names) or len(pred_values) != len(gold_values):
        return False
    if len(set(pred_names)) <= 1 and len(set(gold_names)) <= 1:
        same_name = not pred_names or not gold_names or pred_names[0] == gold_names[0]
        return same_name and _verified(", ".join(pred_values), ", ".join(gold_values))
    if pred_names and gold_names:
        if sorted(pred_names) != sorted(gold_names):
            return False
        pred_values = [value for _, value in sorted(zip(pred_names, pred_values, strict=True))]
        gold_values = [value for _, value in sorted(zip(gold_names, gold_values, strict=True))]
    return all(map(_verified, pred_values, gold_values))


def _bound_variable(pred: str, gold: str) -> bool:
    """``f(x) = x + 1`` is ``f(t) = t + 1``."""
    from sympy import Symbol

    ours, theirs = _FUNCTION_OF.match(pred), _FUNCTION_OF.match(gold)
    if not ours or not theirs or ours["name"] != theirs["name"] or ours["variable"] == theirs["variable"]:
        return False
    body, other = _expression(ours["body"]), _expression(theirs["body"])
    if body is None or other is None:
        return False
    new = Symbol(theirs["variable"])
    old = next((symbol for symbol in body.free_symbols if symbol.name == ours["variable"]), None)
    real = next((symbol for symbol in other.free_symbols if symbol.name == theirs["variable"]), new)
    if real in body.free_symbols:
        return False
    return _same(body if old is None else body.subs(old, real), other)


def _period_index(pred: str, gold: str) -> bool:
    r"""``\pi/6 + n\pi`` is ``\pi/6 + k\pi``: the integer that numbers the periods has no name of its own."""
    if r"\pi" not in pred or r"\pi" not in gold:
        return False
    ours, theirs = (_expression(", ".join(_named(side)[1])) for side in (pred, gold))
    if ours is None or theirs is None:
        return False
    old, new = ours.free_symbols, theirs.free_symbols
    if len(old) != 1 or len(new) != 1 or not {symbol.name for symbol in old | new} <= set("klmn"):
        return False
    return _same(ours.subs(old.pop(), new.pop()), theirs)


def _angle(pred: str, gold: str) -> bool:
    r"""``30^\circ`` is ``\pi/6``."""
    from sympy import pi

    in_degrees = [bool(_DEGREES.search(side)) for side in (pred, gold)]
    if in_degrees not in ([True, False], [False, True]) or r"\pi" not in (gold if in_degrees[0] else pred):
        return False
    sides = [_expression(", ".join(_named(_DEGREES.sub("", side))[1])) for side in (pred, gold)]
    if any(side is None or not getattr(side, "is_number", False) for side in sides):
        return False
    return _same(*(side * pi / 180 if degrees else side for side, degrees in zip(sides, in_degrees, strict=True)))


def _rounded(pred: str, gold: str) -> bool:
    """An exact value is a decimal gold of three or more digits where it rounds to it; a decimal is only itself."""
    from sympy import Abs, Rational

    if "." in pred or not (decimal := _DECIMAL.fullmatch(gold)):
        return False
    if len((decimal["whole"] + decimal["fraction"]).lstrip("0")) < 3:
        return False
    exact = _expression(pred)
    if exact is None or not getattr(exact, "is_number", False) or not exact.is_real:
        return False
    scale = 100 if decimal["percent"] else 1
    target = Rational(gold.rstrip("\\% "))
    return bool(Abs(exact.evalf(30) * scale - target) <= Rational(1, 2 * 10 ** len(decimal["fraction"])))


def _solution_set(pred: str, gold: str) -> bool:
    r"""``x < 1`` or ``x = 3`` is ``(-\infty, 1) \cup \{3\}``: a union of conditions on one variable as a set."""
    from sympy import And, Eq, FiniteSet, Or, Set, Union
    from sympy.core.relational import Relational

    condition = (Relational, And, Or)

    def as_set(reading: Any) -> Any:
        if isinstance(reading, condition):
            return reading.as_set()
        parts = getattr(reading, "args", ())
        if parts and all(isinstance(part, condition) for part in parts) and not all(isinstance(p, Eq) for p in parts):
            return Union(*(part.as_set() for part in parts))
        return reading if isinstance(reading, Set) else FiniteSet(reading)

    ours, theirs = _expression(pred), _expression(gold)
    if ours is None or theirs is None:
        return False
    if type(ours) is type(theirs) or len(ours.free_symbols | theirs.free_symbols) != 1:
        return False
    return _same(as_set(ours), as_set(theirs))


def _vector(pred: str, gold: str) -> bool:
    """A matrix of one column or row is the tuple of its entries."""
    if bool(_VECTOR.fullmatch(pred)) == bool(_VECTOR.fullmatch(gold)):
        return False

    def as_tuple(latex: str) -> str:
        match = _VECTOR.fullmatch(latex)
        if not match:
            return latex
        entries = re.split(r"\\\\" if "&" not in match["body"] else "&", match["body"])
        return latex if r"\\" in "".join(entries) else f"({', '.join(entry.strip() for entry in entries)})"

    return _verified(as_tuple(pred), as_tuple(gold))


RULES: tuple[Callable[[str, str], bool], ...] = (
    _verified, _values, _rounded, _angle, _solution_set, _bound_variable, _period_index, _vector
)  # fmt: skip


def compare(pred: str, gold: str) -> tuple[bool, str]:
    """Whether two answers mean the same by any of the rules, and a note.

    The note is "unparsable" where an answer has no reading, "failed: <error>" where a rule broke and no other agreed.
    """
    pred, gold = rewrite(pred), rewrite(gold)
    note = ""
    for rule in RULES:
        try:
            if rule(pred, gold):
                return True, ""
        except Exception as error:
            note = note or f"failed: {type(error).__name__}"
    return False, "unparsable" if _expression(pred) is None or _expression(gold) is None else note


def serve(connection: Connection, timeout: float) -> None:
    """Answer batches of (pred, gold) pairs, one verdict per message, until the parent closes the connection.

    Args:
        connection: Receives lists of pairs; sends None once ready, then (equal, note) for each pair, in order.
        timeout: Seconds for one pair; a comparison in Python code is interrupted here, any other by the parent.
    """

    def interrupt(*_: object) -> None:
        raise _OutOfTime

    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, interrupt)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    compare(r"\frac{2}{4}", r"\frac12")
    connection.send(None)
    while True:
        try:
            batch = connection.recv()
        except (EOFError, OSError):
            return
        for pred, gold in batch:
            connection.send(_timed(pred, gold, timeout))


def _timed(pred: str, gold: str, timeout: float) -> tuple[bool, str]:
    try:
        signal.setitimer(signal.ITIMER_REAL, timeout)
        try:
            return compare(pred, gold)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _OutOfTime:
        return False, "timeout"
    except Exception as error:
        return False, f"failed: {type(error).__name__}"

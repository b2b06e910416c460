"""Reads whole answers: their parts with names, units and domains, and conditions as sets."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from int_lightning.grading.algebra.answer import Answer, Item, Reading, as_quantity, as_set, symbols_of
from int_lightning.grading.algebra.conditions import half_line, relation, residue, without_repetition
from int_lightning.grading.algebra.expression_parser import ExpressionParser
from int_lightning.grading.algebra.functions import APPLIED
from int_lightning.grading.algebra.names import is_name
from int_lightning.grading.algebra.notation import END, Token, tokenise
from int_lightning.grading.algebra.numbers import UnreadableError, divide, exactly, multiply
from int_lightning.grading.algebra.quantities import Quantity, apply, constant, symbol
from int_lightning.grading.algebra.renaming import Renaming
from int_lightning.grading.algebra.sets import Combination, Operation
from int_lightning.grading.algebra.units import changes_number, measure

_SIGNS = {
    "=": "=", r"\equiv": "=", r"\approx": "≈", r"\ne": "≠", r"\neq": "≠", "<": "<", r"\lt": "<", ">": ">", r"\gt": ">",
    r"\le": "≤", r"\leq": "≤", r"\leqslant": "≤", r"\ge": "≥", r"\geq": "≥", r"\geqslant": "≥",
}  # fmt: skip
_COMBINE: dict[str, Operation] = {
    r"\cup": "union",
    r"\cap": "intersection",
    r"\setminus": "difference",
    r"\backslash": "difference",
}
_FOR = ("for", "where", "with", "if", "when", "provided", "assuming")
_DOMAIN = re.compile(
    r"""[,;]? (?:for|where|with)? ( (?:[a-zA-Z],)* [a-zA-Z] )             # of which symbols
    ( \\in\\mathbb[A-Z].* | (?<=[i-n]) (?:\\geq?|\\geqslant|>) \d+ )      # k \in \mathbb{Z}, n \ge 1""",
    re.VERBOSE,
)
_UNDEFINED = re.compile(rf"[,;]?(?:{'|'.join(_FOR)})?([^,;]*\\neq?[^,;]*)")
_DOMAIN_LENGTH = 20  # tokens at most
_FOR_ALL = re.compile(
    r"""(?:for|where|with)\ (?:all|any|every|some|each|real|constants?|integers?)\b
      | where\ [a-zA-Z]\ (?:is\ (?:the|an?)|denotes)\b""",
    re.VERBOSE,
)
_IN_EXPRESSIONS = r"+ - / * ^ ! : , ; \frac \perp \parallel \sqrt \cdot \pm \in"
_NOT_IN_NAMES = frozenset([*_SIGNS, *_COMBINE, *_IN_EXPRESSIONS.split(), *APPLIED])


def read(latex: str, renamed: Renaming = ()) -> Answer | None:
    """The reading of a rewritten answer, with some symbols renamed; None where it cannot be read."""
    return _read(latex, renamed, exactly.dps)


@lru_cache(maxsize=4096)
def _read(latex: str, renamed: Renaming, digits: int) -> Answer | None:
    names = dict(renamed)
    try:
        return AnswerParser(tokenise(latex), lambda name: symbol(names.get(name, name))).answer(latex)
    except UnreadableError:
        return None


class AnswerParser(ExpressionParser):
    """Reads a whole answer.

    Attributes:
        clause: The words after the answer that say when it holds, "" if there are none.
    """

    clause = ""

    def answer(self, latex: str) -> Answer:
        """Read the answer.

        Raises:
            UnreadableError: if it does not follow the grammar.
        """
        items = self.either_sign(self.item)
        links: set[str] = set()
        while self.token is not END and not self._domain(items):
            if self.accept(r"\setminus", r"\backslash"):
                *items, last = items
                items.append(replace(last, value=Combination("difference", as_set(last.value), as_set(self.sum()))))
                continue
            here = set()
            while self.token.kind == "link" or self.token.text in (",", ";", r"\cup"):
                here.add({";": ",", r"\cup": "or"}.get(self.token.text, self.token.text))
                self.at += 1
            if not here:
                raise UnreadableError(self.token.text)
            links |= here
            if self.token is not END:
                items += self.either_sign(self.item)
        if len(items) > 1 and items[0].name and not any(item.name for item in items[1:]):
            items = [replace(item, name=items[0].name) for item in items]
        return Answer(tuple(without_repetition(items, links)), frozenset(links), latex, self.clause)

    def _domain(self, items: list[Item]) -> bool:
        r"""Pass over what only says which values the symbols have, as in ``, k \in \mathbb{Z}``; whether it was there."""
        rest = self.tokens[self.at : self.at + _DOMAIN_LENGTH + 1]
        if len(rest) > _DOMAIN_LENGTH:
            return False
        text = "".join(token.text for token in rest if token.text not in "{}")
        symbols = symbols_of(Answer(tuple(items), frozenset(), "", ""))
        if domain := _DOMAIN.fullmatch(text):
            if not symbols >= {self.symbol(name).name for name in domain[1].split(",")}:
                return False
            self.clause = domain[2]
        elif (undefined := _UNDEFINED.fullmatch(text)) and not any(item.relation for item in items):
            if not symbols & {token.text for token in rest}:
                return False
            self.clause = undefined[1]
        else:
            return False
        self.at = len(self.tokens)
        return True

    def item(self) -> Item:
        """Read a value with its name, or a relation."""
        if self.token.text in _SIGNS and self.token.text not in ("=", r"\equiv"):
            sign = _SIGNS[self.accept(*_SIGNS)]
            value = self._combination()
            return Item(value if sign == "≈" else half_line(sign, as_quantity(value)))
        name, left = self._name()
        sides, signs = [self._combination()], []
        while sign := self.accept(*_SIGNS):
            signs.append(_SIGNS[sign])
            sides.append(self._combination())
        if "≈" in signs:
            signs = signs[: signs.index("≈")]
            sides = sides[: len(signs) + 1]
        if not signs or (name and set(signs) == {"="}):
            return Item(self._with_unit(sides[-1]), name, left)
        if name:
            raise UnreadableError("a named relation")
        return relation([as_quantity(side) for side in sides], signs)

    def _combination(self) -> Reading:
        left = self.sum()
        while not isinstance(left, Quantity) and (sign := self.accept(*_COMBINE)):
            left = Combination(_COMBINE[sign], as_set(left), as_set(self.sum()))
        return left

    def _with_unit(self, value: Reading) -> Reading:
        """Pass over the words after a value: those that say when it holds, or the unit of a number, which it then has."""
        start = self.at + (self.token.text == ",")
        first = " ".join(token.text for token in self.tokens[start : start + 3])
        if _FOR_ALL.match(first) and all(t.kind != "link" and t.text not in ",;" for t in self.tokens[start:]):
            self.clause = "".join(token.text for token in self.tokens[start:] if token.text not in "{}").casefold()
            self.at = len(self.tokens)
            return value
        if self.accept(r"\pmod"):
            return residue(as_quantity(value), as_quantity(self.atom()))
        words = self._words()
        if not words:
            return value
        if not isinstance(value, Quantity) or value.unit or changes_number(words):
            raise UnreadableError("words")
        meaning = measure(words)
        number = value
        if meaning.unit == "%":
            number = apply(divide, value, constant(100))
        elif meaning.factor > 1:
            number = apply(multiply, value, constant(meaning.factor))
        decimals = 0 if meaning.factor > 1 else value.decimals
        return replace(number, unit=meaning.unit, counted=meaning.counted, decimals=decimals, name="")

    def _words(self) -> str:
        """Pass over words, and over the slashes, periods, letters and powers of units among them."""
        words = ""
        while self.token.text not in _FOR and (
            self.token.kind in ("text", "word")
            or (words and self.token.text in ("/", "."))
            or (words.endswith("/") and self.token.kind == "letter")
        ):
            words += f" {self.token.text}"
            self.at += 1
            if self.accept("^"):
                words += f"^{self.raw()}"
        return words

    def _name(self) -> tuple[str, Quantity | None]:
        r"""Read the name before ``=``, ``\in`` or, after words, a colon."""
        start = end = self.at
        words: list[Token] = []
        while end < len(self.tokens) and self.tokens[end].kind != "link" and self.tokens[end].text not in _NOT_IN_NAMES:
            if self.tokens[end].kind in ("word", "text"):
                words.append(self.tokens[end])
            end = self._closing(end) + 1
        named = self.tokens[start:end]
        sign = self.tokens[end].text if end < len(self.tokens) else ""
        label = bool(named) and (named[0].kind in ("word", "text") or (len(named) == 1 and named[0].text.isupper()))
        if sign not in ("=", r"\equiv", r"\in", r"\approx") and not (sign == ":" and label):
            return self._asked()
        if not named or named[0].kind == "number" or not (words or is_name(named)):
            return self._asked()
        in_words = " ".join(token.text for token in words)
        if in_words and len(words) < len(named) and (sign == r"\equiv" or changes_number(in_words)):
            raise UnreadableError("words")
        return self._named(end)

    def _asked(self) -> tuple[str, Quantity | None]:
        """Read a quantity before ``=`` that a problem may ask for, as a ratio of lengths."""
        for end in range(self.at, len(self.tokens)):
            if self.tokens[end].text == "=":
                return self._named(end) if is_name(self.tokens[self.at : end]) else ("", None)
        return "", None

    def _named(self, end: int) -> tuple[str, Quantity | None]:
        named = self.tokens[self.at : end]
        self.at = end + 1
        return "".join(token.text for token in named if token.text not in ("{", "}")), self._left(named)

    def _closing(self, at: int) -> int:
        """Where a bracket that opens here closes; the same place where none opens."""
        if self.tokens[at].text not in ("(", "{"):
            return at
        depth = 0
        for i in range(at, len(self.tokens)):
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(self.tokens[i].text, 0)
            if depth == 0:
                return i
        return len(self.tokens) - 1

    def _left(self, named: list[Token]) -> Quantity | None:
        parser = ExpressionParser(named, self.symbol)
        try:
            left = parser.sum()
        except UnreadableError:
            return None
        return left if isinstance(left, Quantity) and parser.token is END else None

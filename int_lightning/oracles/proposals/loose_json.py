r"""JSON as language models write it, read in linear time and never evaluated.

Beyond JSON it accepts quotes of any kind, also tripled, bare keys and bare values (``None``, ``Step 3``), trailing commas,
comments, line breaks inside strings, LaTeX backslashes that were not doubled, and quotes inside a string that were not
escaped, if it is clear which quote ends the string. What it cannot read without a guess is an error.
"""

from __future__ import annotations

import re

from int_lightning.oracles.proposals.backslashes import unescape

Value = None | bool | int | float | str | list["Value"] | dict[str, list["Value"]]
"""An object maps each key, in lower case, to every value that it was given."""

_DEPTH = 16
_LONGEST_KEY = 60

_COMMENT = r"(?://|\#)[^\n]{0,200}+(?=\n)|/\*[^*]{0,200}+\*/"
_GAP = rf"\s*+(?:(?:{_COMMENT})\s*+){{0,4}}+"  # bounded, because it is tried after every quote
_GAPS = re.compile(_GAP)
# "location": 'location': “location”: location:
_KEY = re.compile(
    rf"(?:\"([^\"\n]{{1,{_LONGEST_KEY}}})\"|'([^'\n]{{1,{_LONGEST_KEY}}})'|[“”]([^“”\n]{{1,{_LONGEST_KEY}}})[“”]|([a-zA-Z_]\w{{0,40}}))"
    rf"{_GAP}:"
)
# a key of which the end is missing: "locat
_CUT_KEY = re.compile(rf"[\"'“”]?[\w ]{{0,{_LONGEST_KEY}}}+[\"'“”]?\s*\Z")
_CUT_AFTER_STRING = re.compile(rf"{_GAP},?\s*(?:{_CUT_KEY.pattern})")
_BARE = re.compile(r"(?:[^,:{}\[\]\"'“”/#\n]|#(?=\d)){1,100}+")
_LITERALS: dict[str, Value] = {"null": None, "none": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?\d{1,100}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,100}\.\d{1,100}", re.ASCII)

_END = {'"': '"', "'": "'", "“": "”", "”": "”"}
_STRING_PART = re.compile(r"\\\\[{}]|\\.|[{}\"'”]", re.DOTALL)
_QUOTED_KEY = (  # "location":
    rf"(?:\"[^\"\n]{{1,{_LONGEST_KEY}}}\"|'[^'\n]{{1,{_LONGEST_KEY}}}'|[“”][^“”\n]{{1,{_LONGEST_KEY}}}[“”]){_GAP}:"
)
_NEXT_LINE = rf"[ \t\r]*\n\s*[\"'“”](?:location|content)[\"'“”]{_GAP}:"
# what can follow a string inside an object: its end, the next key; inside an array: its end, a comma
_AFTER_STRING = {
    "}": re.compile(rf"{_GAP}(?:\}}|,{_GAP}(?:\}}|{_QUOTED_KEY}|(?:location|content){_GAP}:))|{_NEXT_LINE}"),
    "]": re.compile(rf"{_GAP}[\],]"),
}
_NEXT_PIECE = re.compile(r"[ \t\r]*+[+\n]\s*+[\"'“]")


class UnreadableError(ValueError):
    """Text that is not JSON even in this loose sense; ``position`` is where reading stopped."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"{reason} at character {position}")
        self.position = position


def read(text: str, cut: bool = False) -> tuple[Value, int]:
    """The value that a text begins with, and where it ends.

    Args:
        text: Begins with a bracket.
        cut: The text may stop early. A quote that was not escaped is then an error, because it leaves open where a string ends.

    Raises:
        UnreadableError: if it does not begin with such a value; its position is ``len(text)`` if the text stops inside the value.
    """
    return _Reader(text, cut).value(0, "}", _DEPTH)


class _Reader:
    def __init__(self, text: str, cut: bool) -> None:
        self.text = text
        self.cut = cut
        self.last = {quote: text.rfind(quote) for quote in _END.values()}

    def value(self, i: int, closer: str, depth: int) -> tuple[Value, int]:
        """The value at ``i`` inside something that ends with ``closer``."""
        if depth == 0:
            raise UnreadableError("brackets nested too deep", i)
        start = self.text[i : i + 1]
        if start == "{":
            return self.object(i + 1, depth)
        if start == "[":
            return self.array(i + 1, depth)
        if start in _END:
            return self.string(i, _END[start], closer)
        bare = _BARE.match(self.text, i)
        if not bare:
            raise UnreadableError("no value", i)
        return _scalar(bare.group().strip()), bare.end()

    def object(self, i: int, depth: int) -> tuple[Value, int]:
        members: dict[str, list[Value]] = {}
        while True:
            i = self.gap(i)
            if self.text[i : i + 1] == "}":
                return members, i + 1
            key = _KEY.match(self.text, i)
            if not key:
                raise UnreadableError("no key", len(self.text) if _CUT_KEY.match(self.text, i) else i)
            value, i = self.value(self.gap(key.end()), "}", depth - 1)
            members.setdefault((key[1] or key[2] or key[3] or key[4]).strip().lower(), []).append(value)
            i = self.comma(i)

    def array(self, i: int, depth: int) -> tuple[Value, int]:
        items: list[Value] = []
        while True:
            i = self.gap(i)
            if self.text[i : i + 1] == "]":
                return items, i + 1
            value, i = self.value(i, "]", depth - 1)
            items.append(value)
            i = self.comma(i)

    def gap(self, i: int) -> int:
        """The next position after spaces and comments."""
        match = _GAPS.match(self.text, i)
        return match.end() if match else i

    def comma(self, i: int) -> int:
        i = self.gap(i)
        return i + 1 if self.text[i : i + 1] == "," else i

    def string(self, i: int, quote: str, closer: str) -> tuple[str, int]:
        if self.text.startswith(quote * 3, i):
            end = self.text.find(quote * 3, i + 3)
            if end < 0:
                raise UnreadableError("a string without end", len(self.text))
            return unescape(self.text[i + 3 : end]), end + 3
        braces = 0
        for part in _STRING_PART.finditer(self.text, i + 1):
            mark, at = part.group(), part.start()
            if mark in "{}":
                braces = max(0, braces + (1 if mark == "{" else -1))
            elif mark == quote:
                if self.ends_string(at, quote, closer, braces):
                    return unescape(self.text[i + 1 : at]), at + 1
                if _NEXT_PIECE.match(self.text, at + 1):
                    raise UnreadableError("a string in pieces", at)
                if self.cut:
                    at_end = _CUT_AFTER_STRING.match(self.text, at + 1)
                    raise UnreadableError("a quote that was not escaped", len(self.text) if at_end else at)
        raise UnreadableError("a string without end", len(self.text))

    def ends_string(self, at: int, quote: str, closer: str, braces: int) -> bool:
        """Whether what follows the quote at ``at`` can only follow a string. Directly before a brace that closes one opened
        inside the string, a quote belongs to the string, unless it is the last one."""
        if braces and self.text[at + 1 : at + 2] == "}" and at != self.last[quote]:
            return False
        return _AFTER_STRING[closer].match(self.text, at + 1) is not None


def _scalar(word: str) -> Value:
    if word.lower() in _LITERALS:
        return _LITERALS[word.lower()]
    if _INTEGER.fullmatch(word):
        return int(word)
    return float(word) if _DECIMAL.fullmatch(word) else word

r"""What the inside of a quoted string stands for, where the backslashes of its LaTeX may or may not be doubled.

In JSON ``\\nu`` is a command and ``\nu`` a line break before "u"; but models also write ``\nu`` for the command. What is meant
shows in how the rest of the string is written, and in whether the backslash stands in a formula.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Sequence

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(\\\\\\|.))", re.DOTALL)
_CONTROL = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# \frac, \times, \neq: a backslash and one of JSON's letters that only a command can begin with
_COMMAND = re.compile(
    r"[bfr][a-zA-Z]"
    r"|(?:t(?:an|anh|au|o|op|t|imes|heta|frac|binom|ilde|ag|herefore|hinspace|hick\w*|ext\w*|oprule|riangle\w*|wohead\w*)"
    r"|n(?:eq|eg|ot|otin|abla|geq\w*|leq\w*|gtr|cong|prec\w*|succ\w*|olimits|onumber|ewline|oindent|orm|icefrac|earrow|warrow"
    r"|[lL]eft(?:right)?arrow|[rR]ightarrow|Leftrightarrow|subseteq\w*|supseteq\w*|supset|v[dD]ash|V[dD]ash|triangle\w+"
    r"|short\w+))(?![a-zA-Z])"
)
# \nu, \ne, \tr: a command, or a line break or tab before a word
_COMMAND_OR_WORD = re.compile(r"(?:n(?:u|e|i(?![.)])|mid|exists|less|parallel|sim|subset)|t(?:r|g))(?![a-zA-Z])")
_BEFORE_COMMAND = frozenset(["", *" $({[=+-*/^_|<>"])
_DOUBLED = re.compile(r"[a-zA-Z()\[\]{},;!|%$_&]")
_INLINE = re.compile(r"(?<![\\$])\$(?!\$)|\\[()]")
_DISPLAY = re.compile(r"\$\$|\\[\[\]]")
_OPENING = ("$$", "\\[", "\\\\", "\\n")  # after one of these a line break is meant

# \\begin{pmatrix}, \\begin{align*}: environments with rows, their backslash doubled
_ROWS = re.compile(
    r"\\\\begin\{(?:\w{0,9}matrix|[dr]?cases|array|tabular|align\w{0,9}|gather\w{0,9}|split|eqnarray)\*?\}"
)
_ROW_BREAK = re.compile(r"\s|\\n|[\d&+=-]|[a-zA-Z](?![a-zA-Z])")


def unescape(raw: str) -> str:
    r"""The text that the inside of a quoted string stands for.

    - A backslash that does not begin a JSON escape stands for itself; so does one that begins both an escape and a LaTeX
      command: ``\frac``, ``\times``, ``\neq``.
    - What could also be a line break and a word (``\nu``, ``\ne``, ``\ni``, ``\nmid``, ``\nless``) is a command inside a formula
      and a line break outside; in a displayed formula it is a line break if other commands are doubled. In a string without
      formulas it is a command if the string has other undoubled ones, or if it has no doubled ones and a space, bracket or
      operator stands before. A string that holds real line breaks does not also spell them. One that spells them begins
      lines with them: after ``$$``, ``\[``, ``\\`` and another.
    - ``\\`` is one backslash. It is LaTeX's line break in a string with an undoubled ``\begin``, before a space or another
      backslash in a string with any undoubled command, and in a doubled matrix or ``cases`` none of whose rows ends in four.
    - A surrogate pair is its character.
    """
    escapes = list(_ESCAPE.finditer(raw))
    undoubled = any(_is_command(raw, e) for e in escapes)
    doubled = any(e[2] == "\\" and _DOUBLED.match(raw, e.end()) for e in escapes)
    plain_rows = r"\begin{" in raw and r"\\begin{" not in raw
    broken = "\n" in raw
    rows = _half_doubled_rows(raw)
    inline = [mark.start() for mark in _INLINE.finditer(raw)]
    display = [mark.start() for mark in _DISPLAY.finditer(raw)]

    def breaks_row(end: int) -> bool:
        if plain_rows or (undoubled and (raw[end : end + 1].isspace() or raw[end : end + 1] == "\\")):
            return True
        return rows.start <= end < rows.stop and _ROW_BREAK.match(raw, end) is not None

    def is_word(start: int) -> bool:
        """Whether what may be a command is a line break (or tab) and a word."""
        if broken or raw.endswith(_OPENING, 0, start):
            return not broken
        if inline or display:
            return not (_inside(inline, start) or (_inside(display, start) and not doubled))
        return not undoubled and (doubled or raw[max(0, start - 1) : start] not in _BEFORE_COMMAND)

    def meant(escape: re.Match[str]) -> str:
        if escape[1]:
            return chr(int(escape[1], 16))
        letter: str = escape[2]
        if letter == "\\\\\\":
            return r"\\\\" if plain_rows else r"\\"
        if letter == "\\":
            return r"\\" if breaks_row(escape.end()) else "\\"
        if letter in "\"'/":
            return letter
        if _is_command(raw, escape):
            return escape.group()
        if _COMMAND_OR_WORD.match(raw, escape.start(2)) and not is_word(escape.start()):
            return escape.group()
        return _CONTROL[letter]

    text = _ESCAPE.sub(meant, raw)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _is_command(raw: str, escape: re.Match[str]) -> bool:
    """Whether a backslash certainly begins a LaTeX command."""
    if escape[1] or escape[2][0] in "\\\"'/":
        return False
    return escape[2] not in _CONTROL or _COMMAND.match(raw, escape.start(2)) is not None


def _inside(marks: Sequence[int], position: int) -> bool:
    """Whether a position lies between an opening mark and a closing one."""
    return bisect(marks, position) % 2 == 1


def _half_doubled_rows(raw: str) -> range:
    """Where commands are doubled but the ends of rows are not: from the first matrix to the end of the last."""
    begin = _ROWS.search(raw)
    if not begin or "\\\\\\\\" in raw:
        return range(0)
    end = raw.rfind(r"\\end{")
    return range(begin.end(), end if end > begin.end() else len(raw))

r"""Whether a sentence concludes with a number or expression, rather than using it.

It does if a verb of result governs the number ("we get 3", "there are exactly 12", ``x \equiv 25``), words that conclude come
before it ("so", "in total", "indeed"), and nothing is done with it: it is not followed by an operator or a further number, and it
is not a rate ("12 pens in each box"). Only the last sentence of a text counts, unless another says that it concludes ("we
conclude", "indeed").
"""

from __future__ import annotations

import re

# "so", "in total", "which gives"
_DRAWN = re.compile(
    r"""\b(?:so(?!\ far)|thus|hence|therefore|consequently|accordingly|finally|overall|altogether|indeed|then
      |in\ (?:total|all|the\ end)
      |as\ (?:claimed|required|desired)|that(?:'s|\ is)\ right|it\ follows|giving|leaving|leaves|yielding|results?|final
      |(?:this|that|which)\ (?:means|gives|leaves|makes|yields|shows)|we\ (?:conclude|obtain|find|are\ left))\b""",
    re.VERBOSE | re.IGNORECASE,
)
_FINAL = re.compile(
    r"""\b(?:indeed|we\ conclude|that(?:'s|\ is)\ right|as\ (?:claimed|required|desired)|we\ are\ done|in\ total|altogether)\b""",
    re.VERBOSE | re.IGNORECASE,
)
# "there are exactly", "x =", "leaves us with": what ends directly before the number
_GOVERNED = re.compile(
    r"""(?:\b(?:is|are|be|was|were|equals?|gets?|obtain|find|have|conclude|leaves?(?:\ us)?|left|leaving|giv(?:es?|ing)|makes?
        |yields?|remain|means|that|comes?(?:\ out)?\ to|amounts?\ to|so|thus|hence|therefore)\b
      | = | \\(?:equiv|approx)(?![a-zA-Z]) | ≈ | ≡)
    (?:\s*,)?(?:\s+(?:therefore|thus|then|indeed|also|exactly|precisely|only|just|actually|simply|in\ (?:total|all|fact)
      |a\ total\ of|with|to\ be|there\ (?:are|is|remain)|with\ only|equal\ to|that|we\ (?:get|have|obtain|find)))*
    (?:[\s:$*{]|\\[(\[])*\Z""",
    re.VERBOSE | re.IGNORECASE,
)
_STARTS = re.compile(
    r"""(?: \A | [,;:] )\s* (?:so|thus|hence|therefore|which\ means(?:\ that)?) ,?\s*[$*]*\Z   # ..., so $""",
    re.VERBOSE | re.IGNORECASE,
)
_REMAINS = re.compile(
    r"""[^.\d]{0,60}\b(?:remain|are\ left|is\ left|are\ possible|in\ total|in\ all|altogether)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_USED = re.compile(
    r"""\s*(?: [-+*/^<>=] | \\(?:times|cdot|div|pm|le|ge|lt|gt|neq|in)(?![a-zA-Z]) ) | \s+(?:a|an)\s
      | [^.]{0,80}\b(?:each|every|per|unknowns?|equations?|times\ as|must|to\ be|has\ to|have\ to|need|not)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_MODULUS = re.compile(r"\\p?mod\s*\{?\d+\}?|\(?mod \d+\)?|modulo \d+")
_HEDGED = re.compile(
    r"""\b(?:if|suppose|assume|either|at\ least|at\ most|more\ than|less\ than|not|let|since|given|using
        |(?<!left\ )(?<!us\ )with)\b [^,;]*\Z""",
    re.VERBOSE | re.IGNORECASE,
)
_REASON = re.compile(r",?\s+(?:since|because)\b", re.IGNORECASE)
_END = re.compile(r"[.!?](?=\s+[A-Z$\\]|\s*\Z)|\n")


def concludes(text: str, start: int, end: int) -> bool:
    """Whether the sentence around a place in a text concludes with what stands there."""
    begin = max((mark.end() for mark in _END.finditer(text, max(0, start - 300), start)), default=max(0, start - 300))
    close = _END.search(text, end, end + 300)
    before, behind = text[begin:start], _REASON.split(text[end : close.start() if close else end + 300])[0]
    sentence = before + text[start:end] + behind
    last = close is None or not re.search(r"\w", text[close.end() :])
    if not last and not _FINAL.search(sentence):
        return False
    if _USED.match(behind) or re.search(r"\d", _MODULUS.sub("", behind)) or _HEDGED.search(before):
        return False
    if not _DRAWN.search(sentence):
        return False
    return bool(_GOVERNED.search(before) or _STARTS.search(before)) or (
        not re.search(r"\d", before) and bool(_REMAINS.match(behind))
    )

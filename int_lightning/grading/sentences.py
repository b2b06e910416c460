r"""What a sentence that gives an answer says the answer is.

In this order:

1. a letter of multiple choice before a comment: ``D, for it cannot be A`` -> ``D``
2. what stands behind the last verb of being: ``the largest $n$ is 34`` -> ``34``, ``there are 12 ways that ...`` -> ``12 ways``
3. its only number, with the words behind it that name what is counted: ``she has 7 apples in total`` -> ``7 apples``

A sentence that hedges, asks, supposes or denies says nothing. Reasons and relative clauses are no part of an answer, and of a
chain ``3 + 4 = 7`` the end is.
"""

from __future__ import annotations

import re

_MATH = r"\$\$.+?\$\$|(?<!\\)\$[^$\n]+\$|\\\(.+?\\\)|\\\[.+?\\\]"
_NUMBER = r"[-−+]?(?:\\?[$€£]\s?)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:[.,]\d+)?(?:/\d+)?"
_QUANTITY = re.compile(rf"(?P<math>{_MATH})|(?<![A-Za-z0-9_.,/^\\])(?P<number>{_NUMBER})(?![\w^]*\^)", re.DOTALL)
_BEING = re.compile(
    r"""(?<![a-zA-Z\\'’])(?:is|are|equals?|(?:will|would|must|should)\ be|becomes
        |est(?:\ donc)?(?:\ de)?|sont|es|son|ist|sind|[èé]|são)(?![\w'’])
      (?:\s+(?:therefore|thus|then|hence|indeed|simply|just|only|exactly|equal\ to|given\ by|also|now))*(?:\s*:)?
    | [是为為](?=\s*[-\d$\\*(])""",
    re.VERBOSE,
)
_HEDGE = re.compile(
    r"""\b(?:not|no|cannot|never|if|unless|whether|may|might|could|can|maybe|perhaps|probably|possibly|either|or|suppose|assume|let
      |consider|least|most|less|fewer|greater|smaller|larger|than|about|around|approximately|between|nearly|almost|bound
      |needs?\ to|wants?|must|should|try|first|second|next|step|case|contradiction|impossible|wrong|incorrect|another|when|per
      |each|every|for|where|given|we\ know|only|ha(?:s|ve)\ to|to\ (?:check|consider|find|show|prove|do|go)|subtract|add|multiply
      |divide|using|use|choose|pick|take|start|replace|substitute|look|divisible|multiple|factor|prime|even|odd|guess|far)\b
    | n['’]t\b | \?""",
    re.VERBOSE | re.IGNORECASE,
)
_LETTER = re.compile(
    r"(?:for sure |definitely |clearly |option |choice )*(?:\\text(?:bf)?\s*\{)?\(?([A-J])\)?\}?(?:\s*[,;.:]\s+|\s+)"
    r"(?!(?:and|or)\b|\(?[A-J]\b)(?=(?:it|that|this|for|because|since|as|so|non?|not|which|and not)\b)",
    re.IGNORECASE,
)
_WE_DO = re.compile(r"we (?!(?:get|have|find|obtain|see|conclude|end up|are left)\b)", re.IGNORECASE)
_IT_IS = re.compile(r"(?:I (?:think|believe) )?(?:it|this|that)(?:['’]s| is) (?:option )?\(?([A-J])\)?")
_OPTION = re.compile(r"(?:option |choice )?(?:\([A-J]\)|[A-J][.:)](?!\S))", re.IGNORECASE)
_OF = re.compile(
    r"(?<!total)(?<!cost)(?<!value)\sof(?:\s+the)?\s*\Z", re.IGNORECASE
)  # a multiple of 5 is another number
_CLAUSE = re.compile(
    r"""(?:,?\s+(?:because|since|which|so\ that|as\ (?:it|this|they|we|that|the|required|desired|stated)|who
        |in\ (?:total|all|the\ end)|altogether|overall
        |that\ (?:\w+\ ){0,2}(?:is|are|was|were|has|have|meets?|satisf\w+|can|could|must|do|does))
      |[,;]\s+(?:attained|achieved|reached|it|so|and\ so|and\ thus|and\ not|not|as))\b""",
    re.VERBOSE | re.IGNORECASE,
)
_NOUNS = re.compile(r"(?:\s*(?:[%°€£$²³]|[^\W\d_]+²?(?:/[^\W\d_]+)?)){0,4}")
_NO_NOUN = re.compile(
    r"\s+(?:in|on|at|of|from|by|to|for|with|that|which|who|and|every|each|ago|left|remaining|more|after|before|during|as|"
    r"would|will|is|are|was|were|has|have|had|per|total|days? in|à|de|en|pour|d|when|if|than|while|because|so|since|then)\b.*",
    re.DOTALL,
)
_EASTERN = re.compile(r"[\u3040-\u9fff\uac00-\ud7a3].*", re.DOTALL)  # counters, written without a space
_CHAIN = re.compile(r"(?<![<>!=:\\])=(?!=)")
_NONE = re.compile(r"\bno (?:real |integer |such )?(?:solutions?|roots)\W*\Z", re.IGNORECASE)
_LONGEST = 1000
_LETTERS = re.compile(r"(?<!\\)\b[a-zA-Z]|(?<=\d)[a-zA-Z]")


def answer_of(sentence: str, plain: bool = False) -> str:
    """The answer that a sentence gives, "" for none.

    Args:
        sentence: Without the words that announce an answer ("So", "The answer is").
        plain: Nothing announced an answer, so that a sentence without any of the forms above gives none.
    """
    sentence = sentence.strip().strip("*_").strip().removesuffix("です")
    if letter := option_of(sentence):
        return letter
    if _OPTION.match(sentence):
        return sentence
    if len(sentence) > _LONGEST:
        return "" if plain else sentence
    if sentence.endswith(("?", "？")):
        return ""
    said = _without_clauses(sentence)
    words = _QUANTITY.sub(" ", said)
    verbs = _outside_math(_BEING, said)
    if (none := _NONE.search(said)) and not _HEDGE.search(said[: none.start()]):
        return none[0]
    if verbs and said[verbs[-1].end() :].strip(" *_:"):
        being = verbs[-1]
        if plain and _HEDGE.search(_QUANTITY.sub(" ", said[: being.start()])):
            return ""
        return _shortened(said[being.end() :], plain)
    numbers = [m for m in _QUANTITY.finditer(said) if m["number"] or re.search(r"\d", m[0])]
    worded = re.search(r"[^\W\d_]{2,}", re.sub(r"\\[a-zA-Z]+", "", words)) is not None
    starts = bool(numbers) and not said[: numbers[0].start()].strip(" *_")
    if (
        worded
        and len(numbers) == 1
        and not starts
        and not _HEDGE.search(words)
        and not _OF.search(said[: numbers[0].start()])
    ):
        return _counted(said, numbers[0])
    return "" if plain else _shortened(said, plain)


def option_of(sentence: str) -> str:
    """The letter of multiple choice that a sentence begins with and then comments on, "" for none."""
    letter = _LETTER.match(sentence) or _IT_IS.fullmatch(sentence)
    return letter[1] if letter else ""


def _shortened(text: str, plain: bool) -> str:
    """What stands behind a verb, without the words behind its number that are no name of what is counted."""
    text = text.strip().strip("*_:").strip()
    first = _QUANTITY.match(text)
    if plain and not first:
        return ""
    if first and plain:
        rest = _QUANTITY.sub(" ", text[first.end() :])
        if _HEDGE.search(rest) or re.search(r"\d|\\[a-zA-Z]", text[first.end() :]):
            return _end_of_chain(text) if _is_formula(text) else ""
        return _end_of_chain(_counted(text, first))
    return _end_of_chain(text)


def _counted(text: str, number: re.Match[str]) -> str:
    nouns = _NOUNS.match(text, number.end())
    named = _EASTERN.sub("", _NO_NOUN.sub("", nouns[0])) if nouns else ""
    return _end_of_chain(text[number.start() : number.end()] + named)


def _is_formula(text: str) -> bool:
    return re.search(r"(?<![\\a-zA-Z])(?!and\b)[a-zA-Z]{2,}", text) is None


def _end_of_chain(text: str) -> str:
    """``7`` for ``3 + 4 = 7`` and for ``n = 3 + 4 = 7``; an equation with letters on its left stays."""
    inner = text.strip()
    for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if inner.startswith(left) and inner.endswith(right) and len(inner) > len(left) + len(right):
            inner = inner[len(left) : -len(right)]
            break
    if inner.startswith("(") and inner.find(")") == len(inner) - 1:
        inner = inner[1:-1]
    sides = _CHAIN.split(inner)
    if len(sides) < 2 or "," in inner or re.search(r"\\begin|\\text", inner):
        return text.strip()
    before = sides[0] if len(sides) == 2 else sides[-2]
    return text.strip() if _LETTERS.search(before) or not re.search(r"\d", before) else sides[-1].strip()


def _without_clauses(sentence: str) -> str:
    """The sentence up to a reason, remark or relative clause outside of its mathematics."""
    for clause in _outside_math(_CLAUSE, sentence):
        if clause.start() > 0 and re.search(r"\d|[$\\]|\b[a-zA-Z]\b", sentence[: clause.start()]):
            return sentence[: clause.start()]
    return sentence


def _outside_math(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    spans = [m.span() for m in re.finditer(_MATH, text, re.DOTALL)]
    return [m for m in pattern.finditer(text) if not any(a <= m.start() < b for a, b in spans)]

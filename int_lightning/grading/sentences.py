r"""What a sentence that gives an answer says the answer is.

In this order:

1. a letter of multiple choice before a comment: ``D, because it cannot be A`` -> ``D``
2. what follows the last verb of being: ``the largest $n$ is 34`` -> ``34``, ``there are 12 ways that ...`` -> ``12 ways``
3. its only number, with the words after it that name what is counted: ``she has 7 apples in total`` -> ``7 apples``

A sentence that hedges, asks, supposes or denies says nothing. Reasons and relative clauses are not part of an answer; the end of
a chain ``3 + 4 = 7`` is.
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
    r"""(?:for\ sure\ |definitely\ |clearly\ |option\ |choice\ )* (?:\\text(?:bf)?\s*\{)? \(?([A-J])\)? \}?
    (?: \s*[,;.:]\s+ | \s+ ) (?! (?:and|or)\b | \(?[A-J]\b )
    (?= (?:it|that|this|for|because|since|as|so|non?|not|which|and\ not)\b )   # D, because it cannot be A""",
    re.VERBOSE | re.IGNORECASE,
)
_IT_IS = re.compile(
    r"""(?:I\ (?:think|believe)\ )? (?:it|this|that)(?:['’]s|\ is)\ (?:option\ )? \(?([A-J])\)?""",
    re.VERBOSE | re.IGNORECASE,
)
_OPTION = re.compile(r"(?:option |choice )?(?:\([A-J]\)|[A-J][.:)](?!\S))", re.IGNORECASE)
_OF = re.compile(  # a multiple of 5 is another number
    r"(?<!total)(?<!cost)(?<!value)\sof(?:\s+the)?\s*\Z", re.IGNORECASE
)
_CLAUSE = re.compile(
    r"""(?:,?\s+(?:because|since|which|so\ that|as\ (?:it|this|they|we|that|the|required|desired|stated)|who
        |in\ (?:total|all|the\ end)|altogether|overall
        |that\ (?:\w+\ ){0,2}(?:is|are|was|were|has|have|meets?|satisf\w+|can|could|must|do|does))
      |[,;]\s+(?:attained|achieved|reached|it|so|and\ so|and\ thus|and\ not|not|as))\b""",
    re.VERBOSE | re.IGNORECASE,
)
_NOUNS = re.compile(r"(?:\s*(?:[%°€£$²³]|[^\W\d_]+²?(?:/[^\W\d_]+)?)){0,4}")
_NO_NOUN = re.compile(
    r"""\s+(?: in | on | at | of | from | by | to | for | with | that | which | who | and | every | each | per | total | days?\ in
      | ago | left | remaining | more | after | before | during | as | when | if | than | while | because | so | since | then
      | would | will | is | are | was | were | has | have | had | à | de | en | pour | d )\b.*""",
    re.VERBOSE | re.DOTALL,
)
_EASTERN = re.compile(r"[\u3040-\u9fff\uac00-\ud7a3].*", re.DOTALL)  # counters, written without a space
_CHAIN = re.compile(r"(?<![<>!=:\\])=(?!=)")
_NONE = re.compile(r"\bno (?:real |integer |such )?(?:solutions?|roots)\W*\Z", re.IGNORECASE)
_LONGEST = 1000
_LETTERS = re.compile(r"(?<!\\)\b[a-zA-Z]|(?<=\d)[a-zA-Z]")


def answer_of(sentence: str, plain: bool = False) -> str:
    """The answer that a sentence gives, "" if it gives none.

    Args:
        sentence: Without the words that announce an answer ("So", "The answer is").
        plain: Nothing announced an answer, so a sentence in none of the forms above gives none.
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
    none = _NONE.search(said)
    if none and not _HEDGE.search(said[: none.start()]):
        return none[0]
    if verbs and said[verbs[-1].end() :].strip(" *_:"):
        being = verbs[-1]
        if plain and _HEDGE.search(_QUANTITY.sub(" ", said[: being.start()])):
            return ""
        return _shortened(said[being.end() :], plain)
    numbers = [quantity for quantity in _QUANTITY.finditer(said) if re.search(r"\d", quantity[0])]
    has_words = re.search(r"[^\W\d_]{2,}", re.sub(r"\\[a-zA-Z]+", "", words)) is not None
    if has_words and len(numbers) == 1 and not _HEDGE.search(words):
        before = said[: numbers[0].start()]
        if before.strip(" *_") and not _OF.search(before):
            return _counted(said, numbers[0])
    return "" if plain else _shortened(said, plain)


def option_of(sentence: str) -> str:
    """The letter of multiple choice that a sentence begins with and then comments on, "" if it does not."""
    letter = _LETTER.match(sentence) or _IT_IS.fullmatch(sentence)
    return letter[1] if letter else ""


def _shortened(text: str, plain: bool) -> str:
    """What follows a verb, without the words after its number that do not name what is counted."""
    text = text.strip().strip("*_:").strip()
    first = _QUANTITY.match(text)
    if not plain:
        return _end_of_chain(text)
    if not first:
        return ""
    rest = text[first.end() :]
    if _HEDGE.search(_QUANTITY.sub(" ", rest)) or re.search(r"\d|\\[a-zA-Z]", rest):
        return _end_of_chain(text) if _is_formula(text) else ""
    return _end_of_chain(_counted(text, first))


def _counted(text: str, number: re.Match[str]) -> str:
    nouns = _NOUNS.match(text, number.end())
    named = _EASTERN.sub("", _NO_NOUN.sub("", nouns[0])) if nouns else ""
    return _end_of_chain(text[number.start() : number.end()] + named)


def _is_formula(text: str) -> bool:
    return re.search(r"(?<![\\a-zA-Z])(?!and\b)[a-zA-Z]{2,}", text) is None


def _end_of_chain(text: str) -> str:
    """``7`` for ``3 + 4 = 7`` and for ``n = 3 + 4 = 7``; an equation with letters on its left side stays."""
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
    """The sentence up to a reason, remark or relative clause that is not in its mathematics."""
    for clause in _outside_math(_CLAUSE, sentence):
        if clause.start() > 0 and re.search(r"\d|[$\\]|\b[a-zA-Z]\b", sentence[: clause.start()]):
            return sentence[: clause.start()]
    return sentence


def _outside_math(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    spans = [m.span() for m in re.finditer(_MATH, text, re.DOTALL)]
    return [m for m in pattern.finditer(text) if not any(a <= m.start() < b for a, b in spans)]

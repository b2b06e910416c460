"""Phrases that name an answer, and sentences that begin as a conclusion does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from int_lightning.grading.sentences import answer_of, option_of

_MARKUP = r"[\s>#*_]{0,20}"
_BE = r"(?:is|are|equals|(?:will|would|must|should)\ be|becomes)\b"
_ADVERB = r"(?:therefore|thus|then|hence|indeed|simply|just|clearly|definitely|given\ by|equal\ to)"
_PHRASE = re.compile(
    rf"""
    (?P<hashes>^[^\S\n]*\#{{4}}(?!\#)[^\S\n]*)
  | (?P<json>["'](?:final_?\ ?)?answer["']\s*:\s*)
  | (?P<letter>^{_MARKUP}(?:\\text(?:bf)?\s*\{{)?A\s*:[\s*}}]*)
  | (?<![\w-])(?P<final>final\s+)?(?:correct\s+|right\s+|best\s+)*
    (?:answers?|(?:correct|right|best)\s+(?:option|choice)|(?P<solution>(?<=the\ )(?:only\ )?solutions?(?:\ set)?))
    (?:\s+(?:to|for)\s+(?:the|this|our)\s+(?:\w+\s+)?(?:question|problem|exercise))?
    (?: [*_}}]*\s*[:：=][\s*_}}]* | [*_}}\s]+{_BE}(?:,?\s+{_ADVERB},?)*\s*[:：]?[\s*_]* | (?<=nswer)[^\S\n]+(?=[$\\]) )
  | (?P<foreign>
      (?:最终|正确|最后)?答案(?:应该)?\s*(?:是|为|為|[:：])+\s*
    | (?:故|应)选(?:择|项)?\s*[:：]?\s* | 答えは\s* | 정답은\s* | (?:정답|답)\s*[:：]\s*
    | \b(?:r[ée]ponse|respuesta|risposta|resposta|antwort|ответ|odpowiedź|cevap)\b(?:\s+(?:finale?|correcta?|correcte|final))?
      [*_]*\s*(?:[:：—-]|est\b|es\b|[éè](?=\s)|ist\b|lautet\b|jest\b)[\s*_:]*(?:donc\s+|de\s+)?
    )
  | (?P<header>^[^\S\n]*(?:\#+[^\S\n]*)?[*_]*(?:the\ )?(?:final\ )?(?:answer|result)[*_:]*[^\S\n]*\n\s*)
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_BEHIND = re.compile(
    r"""\s*,?\s(?:is|are|gives)\s+(?:therefore\ |thus\ |indeed\ )?(?:
      (?:the|our|my)\s+(?:only\ |final\ |correct\ |desired\ |required\ |right\ )*(?:answers?|solutions?|choice|option|result)\b
    | correct\s*(?=[.!]|$))""",
    re.VERBOSE | re.IGNORECASE,
)
_BLOCK = re.compile(r"\$\$.+?\$\$|\\\[.+?\\\]|\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL)  # a displayed formula
_SENTENCE_END = r"""
    (?: (?<!\.)\.(?!\d|\.) | !(?=\s|$) ) (?= [\s"'*)}\]]* (?: \s+[A-Z\[(\\$#*] | $ | \n ) )
  | [。！] | [?？](?=\s|$)
  | \n\s*\n | \n(?=\s*[^\s\\}$&])   # not between the lines of a formula
"""
_END = re.compile(_SENTENCE_END, re.VERBOSE)
_LINE_END = re.compile(r"\n|\Z")
_LAST_END = re.compile(
    rf"""{_SENTENCE_END}
  | (?<=[\d$)\]}}])\s+(?=(?:So|Thus|Hence|Therefore)\b)   # P = 2/3 Therefore
  | ,\s+(?=(?:thus|hence|therefore)\b)
    """,
    re.VERBOSE,
)
_SUPPOSES = re.compile(
    r"""\b(?:if|suppose|assume|assuming|whether|imagine|guess|not|wrong|incorrect|unless|perhaps|maybe|possibly|probably)\b
        [^.!?\n]*\Z
      | \b(?:is|was|for|of|to|than|below|above|on)\s+(?:(?:the|your|my|our)\s+)?\Z   # a bound for the (answer)
      | (?: \b(?:her|his|their) | ['’]s )\s+\Z                                       # the student's (answer)""",
    re.VERBOSE | re.IGNORECASE,
)
_WRONG = re.compile(r"\b(?:is|was|would be) (?:wrong|incorrect|false|impossible)\b", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"""\b(?:wait|hold\ on|try\ again|re-?(?:compute|calculate|consider|do))\b
      | \b(?:that|this)(?:'s|’s|\ is|\ was|\ cannot\ be|\ can't\ be)\ (?:wrong|not\ right|incorrect|not\ correct)
      | \b(?:made|is)\ an?\ (?:mistake|error)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_OPENER = re.compile(
    r"""(?:(?:so(?!\ (?:far|that|as|much|many|long)\b)|thus|hence|therefore|consequently|accordingly|overall|finally
      |in\ conclusion|to\ conclude|in\ total|(?:this|which)\ means|it\ follows|as\ a\ result
      |we\ (?:can\ )?(?:get|have|find|obtain|conclude|see)
      |donc|ainsi|par\ conséquent|en\ conclusion|por\ (?:lo\ )?tanto|entonces|en\ conclusión|also|daher|somit|portanto|logo|quindi
      |итак|следовательно|таким\ образом)\b|(?:\d+\.\s*)?\**(?:因此|所以|故|综上|结论)|∴)[\s,:：，*]*(?:that\b\s*)?""",
    re.VERBOSE | re.IGNORECASE,
)
_THE_IS = re.compile(
    r"""(?:le|la|el|il|der|die|das)\ (?:[^\W\d_]+\ ){1,4}(?:est|es|ist|è)\b
    | the\ (?:[a-z]+\ ){1,4}(?:of\ (?:the\ |\$[^$]*\$\ ?|[a-z]+\ ?)(?:[a-z]+\ ){0,3})?(?:is|are)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_POLITE = re.compile(
    r"""\s*(?: I\ hope\ (?:it|this|that)[^.!\n]*[.!]
      | (?: (?:please\ )?let\ me\ know | feel\ free | if\ you\ have\ any | thank\ you )[^\n]* )\s*\Z""",
    re.VERBOSE | re.IGNORECASE,
)
_PROSE = re.compile(
    r"""\b(?:it|this|that|which|what|here|there|answer)\b
      | (?<![\\a-z])[^\W\d_]{3,}\s+(?:[^\W\d_]+\s+)?[^\W\d_]{3,}   # two words""",
    re.VERBOSE | re.IGNORECASE,
)
_OPTION = re.compile(r"(?:option|choice)\s+", re.IGNORECASE)
_OWN_LABEL = re.compile(
    r"""(?! .*\b(?:step|case|part|given|let|first|second|next|problem|suppose|if|example|not|hint|note|option|choice)\b )
    [A-Z][^\d$\\:=\n]{1,60}: \s*( \$[^$\n]+\$ | [-$€£]?\d[^:=\n]{0,40} )\.?   # Total length: 15""",
    re.VERBOSE | re.IGNORECASE,
)
_IN_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_GAP = re.compile(r'[\s*_"}]*')
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|([-\d./]+)')
_ESCAPED = re.compile(r'\\(\\|")')
_ANNOUNCES = re.compile(
    r"""\b(?:is|are|gives?|get|obtain|find|have|equals|hence|thus|therefore|so|conclude|yields?)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_UNFINISHED = re.compile(
    r"""\b(?:and|so|or|to|the|of|is|by|with|that|we|need|add|then|next)\s*\Z | [,:;+*/=-]\s*\Z""",
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST = 3000
_FAR = 400


@dataclass(frozen=True, slots=True)
class _Said:
    """Where what a phrase says ends, the answer that it gives, and whether it calls that final."""

    end: int
    answer: str
    final: bool


def last_phrase(text: str, final: bool = False) -> str | None:
    """The answer that the last phrase of a text names: "" if it names none after all, None without a phrase.

    Args:
        text: What a response says after its thoughts.
        final: Only phrases that call an answer final count.
    """
    phrases = [*_PHRASE.finditer(text), *_BEHIND.finditer(text)]
    for phrase in sorted(phrases, key=lambda match: match.start(), reverse=True):
        said = _said_before(text, phrase) if phrase.re is _BEHIND else _said_behind(text, phrase)
        if said is not None and (said.final or not final):
            rest = text[said.end :]
            taken_back = _TAKEN_BACK.search(rest) or (not said.final and len(rest) > _FAR)
            return "" if taken_back else said.answer
    return None


def _said_behind(text: str, phrase: re.Match[str]) -> _Said | None:
    """What the text after a phrase says."""
    final = bool(phrase["hashes"] or phrase["json"] or "inal" in phrase[0])
    if phrase["json"]:
        return _Said(phrase.end(), _member(text, phrase.end()), final)
    statement, end = _statement(text, phrase.end(), line=bool(phrase["hashes"]))
    supposed = _SUPPOSES.search(text, max(0, phrase.start() - 80), phrase.start())
    if (supposed and not phrase["hashes"]) or _WRONG.search(statement):
        return _Said(end, "", final)
    return _Said(end, answer_of(statement), final)


def _said_before(text: str, phrase: re.Match[str]) -> _Said | None:
    """What the text before "is the answer" says; None if that is neither a formula nor an option."""
    begin = max(0, phrase.start() - 200)
    start = max((end.end() for end in _END.finditer(text, begin, phrase.start())), default=begin)
    subject = _unopened(text[start : phrase.start()].strip())
    if subject.lower() in ("this", "that", "it", "which"):
        before = _last_sentence(text[begin:start])
        subject = before if _is_formula(before) else subject
    if _SUPPOSES.search(subject) or _PROSE.search(subject):
        return None
    return _Said(phrase.end(), _OPTION.sub("", subject), "final" in phrase[0])


def _statement(text: str, start: int, line: bool = False) -> tuple[str, int]:
    """The text after a phrase, to the end of its sentence or displayed formula, and where that is."""
    gap = _GAP.match(text, start)
    begin = gap.end() if gap and not line else start
    if block := _BLOCK.match(text, begin, begin + _LONGEST):
        return block[0], block.end()
    end = (_LINE_END if line else _END).search(text, begin)
    stop = end.start() if end else len(text)
    if end and end[0] in ("?", "？"):
        stop = end.end()  # a question is told by its mark
    statement = text[begin:stop].strip()
    return statement.removesuffix("}") if statement.count("{") < statement.count("}") else statement, stop


def _member(text: str, start: int) -> str:
    """A JSON value: what its quotes hold, or a number."""
    value = _VALUE.match(text, start)
    if not value:
        return ""
    return value[2] if value[1] is None else _ESCAPED.sub(r"\1", value[1])


def concluded(text: str) -> str | None:
    """The answer that the last sentence of a text concludes with.

    "" if it is a conclusion without an answer, None if it is not a conclusion.
    """
    text = _POLITE.sub("", text.strip()[-_LONGEST:]).rstrip()
    if _UNFINISHED.search(text):
        return None
    blocks = list(_BLOCK.finditer(text))
    if blocks and not text[blocks[-1].end() :].strip(" .*\n"):
        announced = _last_sentence(text[: blocks[-1].start()].rstrip(" :\n"))
        return blocks[-1][0] if _ANNOUNCES.search(announced) else None
    sentence = _last_sentence(text)
    rest = _unopened(sentence)
    if rest != sentence:
        return answer_of(rest, plain=not _is_formula(rest))
    return answer_of(sentence, plain=True) or None if _THE_IS.match(sentence) else None


def labelled(text: str) -> str:
    """What follows the label of a line, as in ``Total length: 15``, or the option before a comment; "" if there is neither."""
    if letter := option_of(text):
        return letter
    label = _OWN_LABEL.fullmatch(text)
    return label[1] if label else ""


def _unopened(sentence: str) -> str:
    """A sentence without words that announce a conclusion, such as "Therefore, we get"."""
    words = _IN_TEXT.match(sentence)
    plain = f"{words[1]} {sentence[words.end() :]}" if words else sentence
    rest = plain
    for _ in range(3):
        if opener := _OPENER.match(rest):
            rest = rest[opener.end() :]
    return sentence if rest == plain else rest


def _is_formula(text: str) -> bool:
    plain = re.sub(r"\\(?:text|mathrm)\{[^{}]*\}", "", text)
    return re.search(r"(?<![\\a-zA-Z])(?!(?:and|or|[A-Z]{2,4})\b)[^\W\d_]{2,}", plain) is None


def _last_sentence(text: str) -> str:
    text = text.rstrip().rstrip(".!。*").rstrip()
    ends = [end.end() for end in _LAST_END.finditer(text)]
    return text[ends[-1] if ends else 0 :].strip(" *_\n")

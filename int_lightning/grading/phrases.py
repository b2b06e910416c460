r"""Phrases that name an answer, and sentences that begin as a conclusion does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from int_lightning.grading.sentences import answer_of

_MARKUP = r"[\s>#*_]*"
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
      (?:最终|正确|最后)?答案(?:应该)?\s*(?:是|为|為|[:：])+\s* | 答えは\s* | 정답은\s* | (?:정답|답)\s*[:：]\s*
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
_BLOCK = re.compile(r"\$\$.+?\$\$|\\\[.+?\\\]|\\begin\{(\w+\*?)\}.*?\\end\{\1\}", re.DOTALL)
_END = re.compile(
    r"(?:(?<!\.)\.(?!\d|\.)|!(?=\s|$))(?=[\s\"'*)}\]]*(?:\s+[A-Z\[(\\$#*]|$|\n))|[。！]|\n\s*\n|\n(?=\s*[^\s\\}$&])|[?？](?=\s|$)"
)
_SUPPOSES = re.compile(r"\b(?:if|suppose|assume|assuming|whether|imagine|is|was|guess|not|wrong|incorrect|unless)\b[^.!?\n]*\Z", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"\bwait\b|\bhold on\b|\b(?:that|this)(?:'s|’s| is| was| cannot be| can't be) (?:wrong|not right|incorrect|not correct)|"
    r"\b(?:made|is) an? (?:mistake|error)\b|\bre-?(?:compute|calculate|consider|do)\b|\btry again\b",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"""(?:(?:so|thus|hence|therefore|consequently|accordingly|overall|finally|in\ conclusion|to\ conclude|in\ total|this\ means|
      it\ follows|as\ a\ result|we\ (?:can\ )?(?:get|have|find|obtain|conclude|see)|which\ means|
      donc|ainsi|par\ conséquent|en\ conclusion|por\ (?:lo\ )?tanto|entonces|en\ conclusión|also|daher|somit|portanto|logo|quindi|
      итак|следовательно|таким\ образом)\b|因此|所以|故|综上|(?:\**\s*)结论|∴)[\s,:：，*]*(?:that\b\s*)?(?:共|我们)?""",
    re.VERBOSE | re.IGNORECASE,
)
_THE_IS = re.compile(r"(?=the (?:[a-z]+ ){1,4}(?:of (?:the |\$[^$]*\$ ?|[a-z]+ ?)(?:[a-z]+ ){0,3})?(?:is|are)\b)", re.IGNORECASE)
_POLITE = re.compile(
    r"\s*(?:I hope (?:it|this|that)[^.!\n]*[.!]|(?:please )?(?:let me know|feel free)[^\n]*|if you have any[^\n]*|thank you[^\n]*)\s*\Z",
    re.IGNORECASE,
)
_FAR = 400
_GOING_ON = re.compile(r"\b(?:and|so|or|to|the|of|is|by|with|that|we|need|add|then|next)\s*\Z|[,:;+*/=-]\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Said:
    """Where a phrase begins and what it says ends, the answer that it gives, and whether that is called final."""

    start: int
    end: int
    answer: str
    final: bool


def last_phrase(text: str, final: bool = False) -> str | None:
    """The answer that the last phrase of a text names, "" where it names none after all, None without a phrase.

    Args:
        final: Only phrases that call an answer final.
    """
    said = [found for found in _phrases(text) if found.final or not final]
    if not said:
        return None
    last = max(said, key=lambda found: found.start)
    rest = text[last.end :]
    if _TAKEN_BACK.search(rest) or (not last.final and len(rest) > _FAR):
        return ""
    return last.answer


def _phrases(text: str) -> Iterator[_Said]:
    for phrase in _PHRASE.finditer(text):
        before = text[max(0, phrase.start() - 80) : phrase.start()]
        if phrase["solution"] and _PHRASE.match(text, phrase.end()):
            continue
        statement, end = _statement(text, phrase.end(), line=bool(phrase["hashes"]))
        if phrase["json"]:
            statement = _member(text, phrase.end())
        supposed = not phrase["hashes"] and not phrase["json"] and _SUPPOSES.search(before)
        final = bool(phrase["final"] or phrase["hashes"] or phrase["json"] or "inal" in phrase[0])
        again = _PHRASE.match(statement)
        if not again:
            yield _Said(phrase.start(), end, "" if supposed else answer_of(statement), final)
    for phrase in _BEHIND.finditer(text):
        start = max((m.end() for m in _END.finditer(text, max(0, phrase.start() - 200), phrase.start())), default=max(0, phrase.start() - 200))
        subject = text[start : phrase.start()].strip()
        opener = _OPENER.match(subject)
        subject = subject[opener.end() :] if opener else subject
        if not _SUPPOSES.search(subject) and not re.search(r"[^\W\d_]{3,}\s+[^\W\d_]{3,}", re.sub(r"\$[^$]*\$", "", subject)):
            yield _Said(phrase.start(), phrase.end(), re.sub(r"^(?:option|choice)\s+", "", subject, flags=re.IGNORECASE), "final" in phrase[0])


def _statement(text: str, start: int, line: bool = False) -> tuple[str, int]:
    """What follows a phrase, to the end of its sentence or displayed formula, and where that is."""
    gap = re.compile(r"[\s*_\"]*").match(text, start)
    begin = gap.end() if gap and not line else start
    if block := _BLOCK.match(text, begin):
        return block[0], block.end()
    end = (re.compile(r"\n|$").search(text, begin) if line else _END.search(text, begin))
    stop = end.start() if end else len(text)
    if end and end[0] in "?？":
        stop = end.end()
    return text[begin:stop].strip(), stop


def _member(text: str, start: int) -> str:
    """A value of JSON: what its quotes hold, or a number."""
    value = re.compile(r'"((?:[^"\\]|\\.)*)"|([-\d./]+)').match(text, start)
    if not value:
        return ""
    return re.sub(r"\\(\\|\")", r"\1", value[1]) if value[1] is not None else value[2]


def concluded(text: str) -> str:
    """The answer that the last sentence of a text concludes with, "" for none."""
    text = _POLITE.sub("", text.strip()).rstrip()
    if _GOING_ON.search(text):
        return ""
    block = None
    for block in _BLOCK.finditer(text):
        pass
    if block is not None and not text[block.end() :].strip(" .*\n"):
        before = text[: block.start()].rstrip(" :\n")
        announced = _last_sentence(before)
        if re.search(r"\b(?:is|are|gives?|get|obtain|find|have|equals|hence|thus|therefore|so|conclude|yields?)\b", announced, re.IGNORECASE):
            return block[0]
        return ""
    sentence = _last_sentence(text)
    opener = _OPENER.match(sentence)
    if opener:
        return answer_of(_reopened(sentence[opener.end() :]), plain=not _is_formula(sentence[opener.end() :]))
    return answer_of(sentence, plain=True) if _THE_IS.match(sentence) else ""


def _reopened(sentence: str) -> str:
    """Without a second opener, as in "Therefore, we get"."""
    again = _OPENER.match(sentence)
    return sentence[again.end() :] if again else sentence


def _is_formula(text: str) -> bool:
    return re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}", re.sub(r"\\(?:text|mathrm)\{[^{}]*\}", "", text)) is None


def _last_sentence(text: str) -> str:
    text = text.rstrip().rstrip(".!。*").rstrip()
    ends = [m.end() for m in _END.finditer(text)]
    return text[ends[-1] if ends else 0 :].strip(" *_\n")

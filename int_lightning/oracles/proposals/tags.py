"""Which part of an oracle's output is its proposal.

Only the answer counts, which follows the model's thoughts, and in it the last tag: an earlier one may be a draft that the model
took back. Tags that are only talked about ("between <intervention> and </intervention>") are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from int_lightning.defects import DefectError, DefectKind
from int_lightning.oracles.proposals.loose_json import UnreadableError, read
from int_lightning.thoughts import after_thoughts

_NAMES = ("interventions", "replacements")
_TAG = re.compile(  # <intervention>, </replacements>, and one without ">" directly before an object
    r"<\s{0,3}(/?)\s{0,3}(?:intervention|replacement)s?\b(?:([^<>{\[]{0,80})>|(?=\s{0,20}[{\[]))", re.IGNORECASE
)
# </interven, where the output ends
_FRAGMENT = re.compile(r"<\s{0,3}(/?)\s{0,3}([a-z]{0,13})\s{0,20}\Z", re.IGNORECASE)
_MENTION = re.compile(  # what follows a tag that is talked about: "and ...", "tags ...", ", ..."
    r"(?!\s*```)[\s`'\"*]*(?:(?:and|or|to)\b[^{\[\d]{0,20}|(?:tags?|block|format)\b[^{\[\d]*|[.…,;:)][^{\[\d]*|[`'\"*]\s*)",
    re.IGNORECASE,
)
_AND = re.compile(  # "or", "and the second error", "2."
    r"[ `*#\d.)-]*+(?:(?:and|or|then|alternatively)\b[\s,:]*)?"
    r"(?:(?:the |an? )?(?:second|third|next|other|another|further|later)(?: critical)?(?: (?:error|mistake|intervention)s?)?)?"
    r"[ `*:.(\d)-]*+",
    re.IGNORECASE,
)
START = re.compile(r"\{\s*(?:[\"'“”}/#]|location|content)|\[\s*[{\]]", re.IGNORECASE)
"""How an object or a list begins."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of an output.

    Args:
        text: What it holds.
        closed: Whether a closing tag follows.
        after: What follows that.
        twin: What the tag before it holds, if nothing stands between the two but "or", or "second error"; None if there is more.
    """

    text: str
    closed: bool
    after: str
    twin: str | None


def last_tag(raw: str) -> Tag:
    """The tag that counts.

    Raises:
        DefectError: if there is none.
    """
    answer = _without_fragment(_answer(raw))
    tags = list(_TAG.finditer(answer))
    starts = [*(tag.start() for tag in tags), len(answer)]
    texts = [answer[tag.end() : end] for tag, end in zip(tags, starts[1:], strict=True)]
    if len(tags) > 1 and not tags[-1][1] and not tags[-2][1] and not texts[-1].strip() and _ends_object(texts[-2]):
        tags.pop()  # an opening tag instead of the closing one
    for i in reversed(range(len(tags))):
        if tags[i][1] or _MENTION.fullmatch(texts[i]):
            continue
        if i and not tags[i - 1][1] and _breaks_off(texts[i - 1]):
            raise DefectError(DefectKind.AMBIGUOUS, "a tag inside the object of another")
        if re.search("step|location", tags[i][2] or ""):
            raise DefectError(DefectKind.AMBIGUOUS, "the tag itself names a step")
        closed = i + 1 < len(texts)
        beside = i > 1 and tags[i - 1][1] and not tags[i - 2][1] and _AND.fullmatch(" ".join(texts[i - 1].split()))
        after = answer[tags[i + 1].end() :] if i + 1 < len(tags) else ""
        return Tag(texts[i], closed, after, texts[i - 2] if beside else None)
    raise DefectError(DefectKind.NO_PROPOSAL, "no <intervention> tag with something in it")


def _answer(raw: str) -> str:
    """What follows the thoughts."""
    answer = after_thoughts(raw)
    if answer is None:
        raise DefectError(DefectKind.TRUNCATED, "the output ends inside the thoughts")
    return answer


def _without_fragment(answer: str) -> str:
    """The answer without the beginning of a closing tag at its end. The beginning of an opening tag means that it was cut."""
    fragment = _FRAGMENT.search(answer)
    if not fragment or not any(name.startswith(fragment[2].lower()) for name in _NAMES):
        return answer
    rest = answer[: fragment.start()]
    if fragment[1] or _ends_object(rest):
        return rest
    raise DefectError(DefectKind.TRUNCATED, "the output ends inside a tag")


def _ends_object(text: str) -> bool:
    return text.rstrip("` \n\t").endswith(("}", "]"))


def _breaks_off(text: str) -> bool:
    """Whether a text ends inside an object."""
    if start := START.search(text):
        try:
            read(text[start.start() :])
        except UnreadableError:
            return True
    return False

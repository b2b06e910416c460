r"""Where a response gives its answer.

Only what follows the model's thoughts counts, up to a mark that ends its turn, and of ``<answer>`` elements the last. In that the
first rule that finds an answer decides:

1. the last box, with those linked to it (``x=\boxed{1} and y=\boxed{2}``); an empty one is passed over, and one that is not
   closed is an answer cut off: then there is none. An answer called final behind the box is later than the box.
2. the last phrase that names an answer, unless what follows takes it back: ``#### 5``, ``Answer: 5``, ``The answer is 5.``,
   ``5 is the answer``, ``Option B is correct``, the same in other languages, and a member ``"answer"`` of JSON.
3. the last sentence, where it begins as a conclusion does (``Therefore, x = 5``, ``So she has 7 apples.``), and a displayed
   formula that such a sentence ends with.
4. the text itself, where it is nothing but an answer: one line without a full stop in it.

What a sentence says is read in ``sentences``. No rule takes a number for being the last one of a text.
"""

from __future__ import annotations

import re

from int_lightning.grading.boxes import extract_answer, last_boxes
from int_lightning.grading.phrases import concluded, labelled, last_phrase
from int_lightning.thoughts import after_thoughts

__all__ = ["extract_answer", "final_answer"]

_TURN_END = re.compile(
    r"<\|(?:im_start|im_end|eot_id|end_of_text|endoftext|start_header_id|end)\|>|</s>|<end_of_turn>|(?<=\S)\n+(?:Human|User):"
)
_SENTENCES = re.compile(r"[.!?](?=\s+[A-Z$\\(])|\n\s*\n|\n(?=[A-Za-z])")


_WORD = re.compile(r"[\w.,+*/^()-]{1,80}", re.ASCII)  # no space: no sentence, no box


def final_answer(text: str, cut: bool = False) -> str:
    """The answer that a response gives, "" for none.

    Args:
        text: The response, or an answer by itself.
        cut: It stops at a length limit: a sentence at its end might have gone on, so that only a box counts.
    """
    if not cut and _WORD.fullmatch(text):
        return text
    answer = after_thoughts(text)
    if answer is None:
        return ""
    if end := _TURN_END.search(answer):
        answer = answer[: end.start()]
    answer = _element(answer).strip()
    boxes = last_boxes(answer)
    if boxes is not None:
        rest = answer[boxes.end :] if boxes.contents and not cut else ""
        later = last_phrase(rest, final=True) if "inal" in rest else None
        return later or ", ".join(_in_box(content) for content in boxes.contents)
    if cut:
        return ""
    phrase = last_phrase(answer)
    if phrase is not None:
        return phrase
    said = concluded(answer)
    if said is not None:
        return said
    if said := labelled(answer):
        return said
    sentences = r"\begin" not in answer and (_SENTENCES.search(answer) or answer.endswith("?"))
    return "" if sentences else answer


def _element(text: str) -> str:
    """The last ``<answer>`` element, the text where it has none."""
    lower = text.lower()
    end = lower.rfind("</answer>")
    start = lower.rfind("<answer>", 0, max(end, 0))
    return text[start + len("<answer>") : end] if start >= 0 else text


def _in_box(content: str) -> str:
    return content if _WORD.fullmatch(content) else last_phrase(content) or concluded(content) or content

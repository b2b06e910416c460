r"""Where a response gives its answer.

Only what follows the model's thoughts counts, up to a mark that ends its turn; if it has ``<answer>`` elements, only the last
of them. There, the first rule that finds an answer decides:

1. the last box, with those linked to it (``x=\boxed{1} and y=\boxed{2}``). An empty box is passed over; a box that is not
   closed was cut off, and then the response has no answer. An answer that is called final after the box replaces it.
2. the last phrase that names an answer, unless what follows takes it back: ``#### 5``, ``Answer: 5``, ``The answer is 5.``,
   ``5 is the answer``, ``Option B is correct``, the same in other languages, and a member ``"answer"`` of JSON.
3. the last sentence, if it begins as a conclusion does (``Therefore, x = 5``, ``So she has 7 apples.``), and a displayed
   formula that such a sentence ends with.
4. the text itself, if it is only an answer: one line without a full stop in it.

``sentences`` reads what a sentence says. No rule takes a number only because it is the last one in a text.
"""

from __future__ import annotations

import re

from int_lightning.grading.boxes import last_boxes
from int_lightning.grading.phrases import concluded, labelled, last_phrase
from int_lightning.thoughts import after_thoughts

_TURN_END = re.compile(
    r"""<\|(?:im_start|im_end|eot_id|end_of_text|endoftext|start_header_id|end)\|> | </s> | <end_of_turn>
      | (?<=\S)\n+(?:Human|User):""",
    re.VERBOSE,
)
_SENTENCES = re.compile(r"[.!?](?=\s+[A-Z$\\(])|\n\s*\n|\n(?=[A-Za-z])")
_WORD = re.compile(r"[\w.,+*/^()-]{1,80}", re.ASCII)  # without a space or a backslash: neither a sentence nor a box


def final_answer(text: str, cut: bool = False) -> str:
    """The answer that a response gives, "" if it gives none.

    Args:
        text: The response, or only an answer.
        cut: It stops at a length limit, where a sentence might have continued, so only a box counts.
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
    for rule in (last_phrase, concluded):
        said = rule(answer)
        if said is not None:
            return said
    is_prose = r"\begin" not in answer and (_SENTENCES.search(answer) or answer.endswith("?"))
    return labelled(answer) or ("" if is_prose else answer)


def _element(text: str) -> str:
    """The last ``<answer>`` element; all of a text that has none."""
    lower = text.lower()
    end = lower.rfind("</answer>")
    start = lower.rfind("<answer>", 0, max(end, 0))
    return text[start + len("<answer>") : end] if start >= 0 else text


def _in_box(content: str) -> str:
    return content if _WORD.fullmatch(content) else last_phrase(content) or concluded(content) or content

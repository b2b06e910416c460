"""Control tokens, which only a chat template may write, and how a text that spells out their names stays text.

A name is broken by a separator, a meaningless character that none of the texts has; the whole is encoded, and the tokens of the
separator are taken out again. What is left decodes to the text, letter by letter, without a control token in it.

Markers that a template writes as plain text are recognised by their shape (``[INST]``, ``<<SYS>>``), and encoded letter by letter
in a message. Markers that look like ordinary words (``### Response:``, ``USER:``) cannot be told from words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from int_lightning.model_folder.chat_template import render
from int_lightning.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BREAKS = "¦⁞⸽"
"""Signs that a name never has, and a text hardly ever."""

_IN_NAME = rf"[^\s<>\[\]|｜＜＞{BREAKS}\U000f0000-\U000fffff]{{1,64}}"
SHAPE = re.compile(
    rf"""
      [<＜] [|｜]? {_IN_NAME} (?: [\x20] {_IN_NAME} ){{0,4}} [|｜] [>＞]   # <|im_end|> <｜User｜> <turn|>
    | [<＜] [|｜] {_IN_NAME} [>＞]                                       # <|turn>
    | [<＜]{{1,2}} /? [A-Za-z_] [\w:.-]{{0,64}} [>＞]{{1,2}}                 # <s> </s> <start_of_turn> <<SYS>>
    | \[ [|｜] {_IN_NAME} [|｜] \]                                      # [|user|]
    | \[ /? (?: INST | SYSTEM_PROMPT | AVAILABLE_TOOLS | TOOL_\w+ | THINK | MODEL_SETTINGS | [gs]MASK | BOS | EO[ST] ) \]
    | \] ~ !? b (?: \[ | \] \w{{0,64}} ) | \[ e ~ \[                       # ]~b]user  [e~[
    """,
    re.VERBOSE,
)
"""What names of control tokens look like in any model."""

_SEPARATORS = range(0xF0000, 0xFFFFE)  # of a private use area
_USER, _SAID = {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "It is 2."}
_SYSTEM = {"role": "system", "content": "Add."}
_CACHE: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[object, Control]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Control:
    """A tokenizer's control tokens: the special ones, and others that its chat template writes.

    Args:
        names: Their names by id.
        thoughts: Ids of those that begin or end a thought within an assistant's turn. An assistant's own message may have them.
        markers: Plain text around messages that looks like a control token.
    """

    names: dict[int, str]
    thoughts: frozenset[int]
    markers: frozenset[str]

    @property
    def of_turns(self) -> frozenset[int]:
        """Ids of those that a message must not have, not even an assistant's."""
        return frozenset(self.names.keys() - self.thoughts)


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> Control:
    """The control tokens of a tokenizer and of its chat template, if it has one."""
    state = (tokenizer.chat_template, len(tokenizer))
    known = _CACHE.get(tokenizer)
    if known is None or known[0] != state:
        known = _CACHE[tokenizer] = (state, _control_tokens(tokenizer))
    return known[1]


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> Control:
    added = {i: token for i, token in tokenizer.added_tokens_decoder.items() if len(token.content.strip()) > 1}
    special = {i for i, token in added.items() if token.special}
    turns, whole = "", ""
    if tokenizer.chat_template:
        turns = "".join(_written(tokenizer, [[_USER, _SAID, _USER], [_SYSTEM, _USER, _SAID, _USER]], False))
        begun = _written(tokenizer, [[_USER], [_SYSTEM, _USER]], True)
        whole = "".join([turns, *begun, *_written(tokenizer, [[_USER, _SAID]], False)])
    of_turns, written = _named(tokenizer, turns or whole, added), _named(tokenizer, whole, added)
    names = written | {i: added[i].content for i in special}
    markers = set(SHAPE.findall(whole)) - set(names.values())
    return Control(names, frozenset(written.keys() - special - of_turns.keys()), frozenset(markers))


def _written(
    tokenizer: PreTrainedTokenizerBase, conversations: Iterable[list[dict[str, str]]], add_generation_prompt: bool
) -> Iterator[str]:
    """Conversations as the template writes them, without those that it refuses."""
    for conversation in conversations:
        try:
            yield render(tokenizer, conversation, add_generation_prompt)
        except UserError:
            continue


def _named(tokenizer: PreTrainedTokenizerBase, text: str, added: dict[int, Any]) -> dict[int, str]:
    """The tokens of a text that were added to the vocabulary, or look as if they were."""
    names = {i: str(tokenizer.decode([i])).strip() for i in set(tokenizer.encode(text, add_special_tokens=False))}
    return {i: name for i, name in names.items() if i in added or SHAPE.fullmatch(name)}


def separator_for(*texts: str) -> str:
    """A character that occurs in none of the texts."""
    said = set().union(*texts)
    return next(c for c in map(chr, _SEPARATORS) if c not in said)


def broken(tokenizer: PreTrainedTokenizerBase, text: str, separator: str, own: bool = False) -> str:
    """A text with a separator in every name of a control token and between all letters of other markers.

    Args:
        own: Whether an assistant says it, so that thoughts may begin and end in it.
    """
    control = control_tokens(tokenizer)
    ids = control.of_turns if own else control.names.keys()
    for marker in sorted(control.markers, key=len, reverse=True):
        text = text.replace(marker, separator.join(marker))
    names = sorted((control.names[i] for i in ids), key=len, reverse=True)
    while found := [name for name in names if name in text]:
        for name in found:
            text = text.replace(name, name[0] + separator + name[1:])
    return _broken_as_read(tokenizer, text, separator, ids - {tokenizer.unk_token_id})


def _broken_as_read(tokenizer: PreTrainedTokenizerBase, text: str, separator: str, ids: AbstractSet[int]) -> str:
    """Also breaks what the tokenizer's normalisation turns into a name."""
    while tokenizer.is_fast:
        spans = [span for i, span in _tokens(tokenizer, text) if i in ids]
        spans = [(a, b) for a, b in spans if separator not in text[a:b] and len(text[a:b].strip()) > 1]
        if not spans:
            break
        for a, b in reversed(spans):
            inside = a + (b - a) - len(text[a:b].lstrip()) + 1
            text = text[:inside] + separator + text[inside:]
    return text


def encode_broken(tokenizer: PreTrainedTokenizerBase, text: str, separator: str) -> list[int]:
    """Token ids of a text without its separators."""
    if separator not in text:
        return list(tokenizer.encode(text, add_special_tokens=False))
    if tokenizer.is_fast:
        tokens = [(i, text[a:b]) for i, (a, b) in _tokens(tokenizer, text)]
        if not any(separator in piece and piece.strip(separator) for _, piece in tokens):
            return [i for i, piece in tokens if separator not in piece]
    parts = (tokenizer.encode(part, add_special_tokens=False) for part in text.split(separator))
    return list(chain.from_iterable(parts))


def encode_as_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of what an assistant says: thoughts may begin and end in it, and other control tokens are text."""
    separator = separator_for(text)
    return encode_broken(tokenizer, broken(tokenizer, text, separator, own=True), separator)


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, tuple[int, int]]]:
    """Token ids, each with its start and end in the text."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets: Sequence[tuple[int, int]] = encoded["offset_mapping"]
    return list(zip(encoded["input_ids"], offsets, strict=True))

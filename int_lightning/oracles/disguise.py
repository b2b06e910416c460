"""Texts for a server whose tokenizer is not at hand: a sign breaks the names that it may read as control tokens, and is taken
out of what comes back.

The sign is a visible character that none of the texts holds and that Unicode's normal forms keep, so that no filter on the way
removes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from int_lightning.model_folder.control_tokens import BREAKS, SHAPE, separator_for


class Disguise:
    """Breaks the names of control tokens in some texts, all with the same sign.

    Args:
        texts: Those that will be sent.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        said = "".join(texts)
        unused = [c for c in BREAKS if c not in said]
        self._sign = unused[0] if unused else separator_for(said)
        self._names: set[str] = set()

    def broken(self, text: str) -> str:
        """One of the texts with its names broken: ``<|im_end|>`` as ``<¦|im_end|>``."""
        while names := set(SHAPE.findall(text)):  # a name may lie within another
            self._names |= names
            text = SHAPE.sub(lambda name: name[0][0] + self._sign + name[0][1:], text)
        return text

    def restored(self, text: str) -> str:
        """What a server answered, without the signs inside names; any other sign is its own."""
        first, *parts = text.split(self._sign)
        whole, restored, at = first + "".join(parts), [first], len(first)
        lengths = set(map(len, self._names))
        for part in parts:
            ours = any(whole[at - 1 : at - 1 + length] in self._names for length in lengths)
            restored += [part] if ours else [self._sign, part]
            at += len(part)
        return "".join(restored)

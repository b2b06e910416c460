"""Texts for a server, whose tokenizer is not at hand: names that it may read as control tokens are broken by a sign, and what
comes back is put right again.

The sign is one that none of the texts holds, can be seen, and stays under Unicode's normal forms, so that no filter on the way
takes it out.
"""

from __future__ import annotations

from collections.abc import Iterable

from int_lightning.model_folder.control_tokens import BREAKS, SHAPE, separator_for


class Disguise:
    """Breaks the names in some texts, all in the same way.

    Args:
        texts: Those that are to be sent.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        said = "".join(texts)
        self._sign = next((c for c in BREAKS if c not in said), "") or separator_for(said)
        self._names: set[str] = set()

    def broken(self, text: str) -> str:
        """One of the texts, without a name: ``<|im_end|>`` as ``<¦|im_end|>``."""
        while names := set(SHAPE.findall(text)):  # a name may be within another
            self._names |= names
            text = SHAPE.sub(lambda name: name[0][0] + self._sign + name[0][1:], text)
        return text

    def restored(self, text: str) -> str:
        """What a server answered, without the signs that are in names; others are its own."""
        first, *parts = text.split(self._sign)
        whole, restored, at = first + "".join(parts), [first], len(first)
        lengths = set(map(len, self._names))
        for part in parts:
            ours = any(whole[at - 1 : at - 1 + length] in self._names for length in lengths)
            restored += [part] if ours else [self._sign, part]
            at += len(part)
        return "".join(restored)

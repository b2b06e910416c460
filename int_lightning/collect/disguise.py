"""Texts for a server, whose tokenizer is not at hand: names that it may read as control tokens are broken by a sign, and what
comes back is put right again.

The sign is one that none of the texts holds, can be seen, and stays under Unicode's normal forms, so that no filter on the way
takes it out.
"""

from __future__ import annotations

from collections.abc import Iterable

from int_lightning.prompts.control import BREAKS, SHAPE, separator_for


class Disguise:
    """Breaks the names in some texts, all in the same way.

    Args:
        texts: Those that are to be sent.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        said = "".join(texts)
        self._sign = next((c for c in BREAKS if c not in said), "") or separator_for(said)
        self._names: dict[str, str] = {}

    def broken(self, text: str) -> str:
        """One of the texts, without a name: ``<|im_end|>`` as ``<¦|im_end|>``."""
        while name := SHAPE.search(text):
            broken = name[0][0] + self._sign + name[0][1:]
            self._names[broken] = name[0]
            text = text.replace(name[0], broken)
        return text

    def restored(self, text: str) -> str:
        """What a server answered, with the names as they were."""
        while found := [broken for broken in self._names if broken in text]:  # a name may be within another
            for broken in found:
                text = text.replace(broken, self._names[broken])
        return text

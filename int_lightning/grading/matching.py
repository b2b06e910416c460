"""Lists whose order does not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def same_in_any_order(ours: Sequence[T], theirs: Sequence[T], same: Callable[[T, T], bool]) -> bool:
    """Whether two lists have the same elements, each as often as the other, when ``same`` compares them."""
    left = list(theirs)
    for x in ours:
        for i, y in enumerate(left):
            if same(x, y):
                del left[i]
                break
        else:
            return False
    return not left

"""64-bit hashes of texts, and a set and a map of them that take 8 and 12 bytes per hash."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_FRESH = 1 << 16


def hash64(text: str) -> int:
    """A 64-bit hash of a text, the same in every run."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class HashSet:
    """A growing set of 64-bit hashes: a small set of new ones, and a few sorted arrays, each at least twice as long as the next.

    Ten million hashes take 80 MB, and as much again while arrays are merged.
    """

    def __init__(self) -> None:
        self._sorted: list[Hashes] = []
        self._fresh: set[int] = set()

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._sorted))

    def contains(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Whether each hash, uint64 [N], is in the set: bool [N]."""
        found = np.fromiter((h in self._fresh for h in hashes.tolist()), np.bool_, len(hashes))
        for array in self._sorted:
            at = np.minimum(np.searchsorted(array, hashes), len(array) - 1)
            found |= array[at] == hashes
        return found

    def add(self, hashes: Hashes) -> None:
        """Adds hashes, uint64 [N], none of which may be in the set already."""
        self._fresh.update(hashes.tolist())
        if len(self._fresh) >= _FRESH:
            self._sorted.append(np.sort(np.fromiter(self._fresh, np.uint64, len(self._fresh))))
            self._fresh.clear()
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            merged = np.concatenate([self._sorted.pop(), self._sorted.pop()])
            merged.sort(kind="stable")
            self._sorted.append(merged)


class HashMap:
    """A growing map from 64-bit hashes to numbers below 2^32, stored the way ``HashSet`` stores its hashes."""

    def __init__(self) -> None:
        self._sorted: list[tuple[Hashes, NDArray[np.uint32]]] = []
        self._fresh: dict[int, int] = {}

    def get(self, key: int) -> int | None:
        """The number that was last set for a hash; None if there is none."""
        if (fresh := self._fresh.get(key)) is not None:
            return fresh
        for keys, values in reversed(self._sorted):
            at = int(np.searchsorted(keys, np.uint64(key)))
            if at < len(keys) and keys[at] == key:
                return int(values[at])
        return None

    def put(self, key: int, value: int) -> None:
        """Sets the number of a hash."""
        self._fresh[key] = value
        if len(self._fresh) >= _FRESH:
            self._sorted.append(
                _by_key(np.fromiter(self._fresh, np.uint64), np.fromiter(self._fresh.values(), np.uint32))
            )
            self._fresh.clear()
        while len(self._sorted) > 1 and len(self._sorted[-2][0]) < 2 * len(self._sorted[-1][0]):
            newer, older = self._sorted.pop(), self._sorted.pop()
            keys, values = np.concatenate([newer[0], older[0]]), np.concatenate([newer[1], older[1]])
            self._sorted.append(_by_key(keys, values))


def _by_key(keys: Hashes, values: NDArray[np.uint32]) -> tuple[Hashes, NDArray[np.uint32]]:
    """Both arrays in the order of the keys; of equal keys, the first is kept."""
    unique, first = np.unique(keys, return_index=True)
    return unique, values[first]

"""Benchmark items in a pool, found by their sequences of 13 words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from int_lightning.sources.hashes import Hashes, hash64
from int_lightning.sources.text_tokens import words

_WORDS = 13
_SHARE = 0.4
_FACTORS = np.random.default_rng(0).integers(0, 1 << 63, _WORDS, np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """A problem to keep out of the pool, and the source it comes from."""

    source: str
    id: str


class Benchmarks:
    """Problems to keep out of a pool.

    A problem counts as a benchmark item if it has at least 0.4 of the item's 13-word sequences (of words and numbers,
    without typesetting), or, where they are shorter than 13 words, the same text. A single sequence is not enough:
    most that problems share are phrases such as "where m and n are relatively prime positive integers find m+n".

    Measured on 28,211 problems (DAPO-Math-17k, Omni-MATH, GSM8K) against 856 items of IMO-AnswerBench, OlymMATH, AIME and HMMT:
    707 problems share a sequence with an item. The 76 that have 0.4 or more of an item's sequences are that item, some with
    other numbers; about 10 of the other 631 are reworded items.
    """

    def __init__(self, items: Iterable[tuple[BenchmarkItem, list[str]]]) -> None:
        self._items: list[BenchmarkItem] = []
        sequences, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for index, (item, tokens) in enumerate(items):
            self._items.append(item)
            sequences.append(_sequences(tokens))
            owners.append(np.full(len(sequences[-1]), index))
        self._sizes = [len(s) for s in sequences[1:]]
        order = np.argsort(joined := np.concatenate(sequences), kind="stable")
        self._sequences, self._owners = joined[order], np.concatenate(owners)[order]

    def find(self, tokens: list[str]) -> BenchmarkItem | None:
        """The benchmark item that a problem, given as its text tokens, repeats; None if it repeats none."""
        if not self._items:
            return None
        sequences = _sequences(tokens)
        starts = np.searchsorted(self._sequences, sequences)
        ends = np.searchsorted(self._sequences, sequences, side="right")
        shared = Counter[int]()
        for start, end in zip(starts, ends, strict=True):
            if start < end:
                shared.update(self._owners[start:end].tolist())
        best = max(shared, key=lambda i: shared[i] / self._sizes[i], default=None)
        return None if best is None or shared[best] < _SHARE * self._sizes[best] else self._items[best]


def _sequences(tokens: list[str]) -> Hashes:
    """The distinct hashes of a text's 13-word sequences; if it has fewer words, the hash of all its tokens."""
    text = words(tokens)
    if len(text) < _WORDS:
        return np.array([hash64(" ".join(tokens))], np.uint64)
    hashes = np.fromiter(map(_word_hash, text), np.uint64, len(text))
    return np.unique((np.lib.stride_tricks.sliding_window_view(hashes, _WORDS) * _FACTORS).sum(axis=1))


_word_hash = lru_cache(1 << 16)(hash64)

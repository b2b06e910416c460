"""Tokenizers that cut text in every way a model's may: merged line breaks, bytes, parts of characters, SentencePiece."""

from __future__ import annotations

import random
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers


def merging_tokenizer() -> Tokenizer:
    """BPE in which "\\n\\n", ".\\n\\n", "So" and ".\\n\\nSo" are single tokens."""
    pieces = [*" .\nabSo", "\n\n", ".\n\n", "So", ".\n\nSo"]
    merges = [("\n", "\n"), (".", "\n\n"), ("S", "o"), (".\n\n", "So")]
    core = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    core.decoder = decoders.Fuse()
    return core


def byte_tokenizer() -> Tokenizer:
    """One token a byte."""
    core = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return core


def byte_merging_tokenizer() -> Tokenizer:
    """Byte-level BPE whose tokens hold parts of characters, also together with the line breaks before or after them."""
    core = byte_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|end|>"]
    )
    characters = "🙂🙃🚀∑π中文\u3000\u2003ab. "
    rng = random.Random(0)
    core.train_from_iterator(
        ("".join(rng.choices([*characters, "\n\n", "\n"], k=30)) for _ in range(200)), trainer=trainer
    )
    return core


def byte_fallback_tokenizer() -> Tokenizer:
    """As sentencepiece models are converted: spaces as "▁", the one at the start dropped, unknown characters as bytes."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁ab.S", "▁a", "▁S", ".▁"]
    merges = [("▁", "a"), ("▁", "S"), (".", "▁")]
    core = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    core.add_special_tokens([AddedToken("<s>", special=True)])
    return core


class Stripping:
    """A tokenizer whose decoding drops white space at both ends: what a slice says depends on what follows it."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner

    def decode(self, token_ids: Any, skip_special_tokens: bool = False) -> str:
        return self.inner.decode(token_ids, skip_special_tokens=skip_special_tokens).strip()

    def get_vocab_size(self) -> int:
        return self.inner.get_vocab_size()


BPE = merging_tokenizer()
BYTES = byte_tokenizer()
TOKENIZERS = {
    "merging": BPE,
    "bytes": BYTES,
    "merged bytes": byte_merging_tokenizer(),
    "byte fallback": byte_fallback_tokenizer(),
    "stripping": Stripping(BPE),
}

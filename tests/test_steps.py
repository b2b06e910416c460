"""Steps: splitting gives the text back, and cuts are the shortest prefixes of the sampled tokens that cover a boundary."""

import gzip
import json
import random
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from int_lightning.mini.mini_tokenizer import build_tokenizer
from int_lightning.mini.world import attempt, draw_chain, solution_text
from int_lightning.steps import KEYWORDS, Cut, Segmentation, cuts, decode, number_steps, split_steps

from shared_data import SHARED, needs_shared

SMOLLM2 = Path.home() / ".cache" / "int-lightning" / "smollm2-135m-instruct"
HOW: tuple[Segmentation, ...] = get_args(Segmentation)
MINI = build_tokenizer()
TEXTS = st.text() | st.text(alphabet="ab1 =.\\\n\n\n\t\r", max_size=60)
OPENINGS = [
    "Wait",
    "but wait",
    "MAYBE",
    "waiting",
    "Hmm",
    "let me",
    "\n",
    "\n\n",
    ". ",
    "? ",
    "\n1. ",
    "\r\n",
    " ",
    "x",
    "**",
    '"',
    "\u3000",
]
TRACES = TEXTS | st.lists(st.sampled_from(OPENINGS), max_size=30).map("".join)


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


def shortest_covers(steps: list[str], ids: list[int], tokenizer: Any) -> list[Cut]:
    """What cuts are, word for word."""
    prefixes = [decode(tokenizer, ids[:k]) for k in range(len(ids) + 1)]
    found = []
    for boundary in [0, *accumulate(map(len, steps))][: len(steps)]:
        wanted = "".join(steps)[:boundary]
        tokens = next(k for k, prefix in enumerate(prefixes) if prefix.startswith(wanted))
        found.append(Cut(tokens, prefixes[tokens] == wanted))
    return found


@given(TRACES, st.sampled_from(HOW))
def test_joined_steps_are_the_text(text: str, how: Segmentation) -> None:
    steps = split_steps(text, how)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or not text.strip()


@given(TEXTS.filter(lambda t: not t[:1].isspace()))
def test_a_step_holds_no_blank_line_but_the_one_it_ends_with(text: str) -> None:
    steps = split_steps(text)
    for step in steps:
        assert "\n\n" not in step.rstrip()
        assert step == text or step.strip()
    for step in steps[:-1]:
        assert step[len(step.rstrip()) :].count("\n") >= 2


@given(TRACES)
def test_lines_hold_one_line_each(text: str) -> None:
    steps = split_steps(text, "lines")
    assert [step.strip().count("\n") for step in steps] == [0] * len(steps)
    assert len(steps) == max(1, sum(bool(line.strip()) for line in text.split("\n"))) or not text


@given(TRACES)
def test_keywords_only_add_boundaries_to_those_of_blank_lines(text: str) -> None:
    def ends(how: Segmentation) -> list[int]:
        return list(accumulate(map(len, split_steps(text, how))))

    assert set(ends("blank_lines")) <= set(ends("keywords"))


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("one", ["one"]),
        ("one\ntwo", ["one\ntwo"]),
        ("one\n\ntwo", ["one\n\n", "two"]),
        ("one\n \t\n\n  two\n\n", ["one\n \t\n\n  ", "two\n\n"]),
        ("\n\none\n\n\ntwo\nthree", ["\n\none\n\n\n", "two\nthree"]),
        ("\n\n", ["\n\n"]),
        ("one\r\n\r\ntwo\r\nthree", ["one\r\n\r\n", "two\r\nthree"]),
        ("one\n\r\ntwo\r\n", ["one\n\r\n", "two\r\n"]),
        ("one\n\u00a0\ntwo\n\u3000\u2003\n three", ["one\n\u00a0\n", "two\n\u3000\u2003\n ", "three"]),
    ],
)
def test_splits_written_out(text: str, steps: list[str]) -> None:
    assert split_steps(text) == steps


def test_lines_written_out() -> None:
    assert split_steps("\n one\n  two\n\nthree\n", "lines") == ["\n one\n  ", "two\n\n", "three\n"]
    assert split_steps("one", "lines") == ["one"]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("x = 2. Wait, no. So x = 3.", ["x = 2. ", "Wait, no. So x = 3."]),
        ("I wait. But wait: why? maybe 3\nHowever", ["I wait. ", "But wait: why? ", "maybe 3\n", "However"]),
        ("Good!) *Hmm*, so\n\nfine.\n- wait", ["Good!) ", "*Hmm*, so\n\n", "fine.\n- wait"]),
        ("She is waiting. Waiting. Let mean", ["She is waiting. Waiting. Let mean"]),
        ("Oh, wait. OH WAIT", ["Oh, wait. ", "OH WAIT"]),
        ('He said: "Wait." "Let me see."', ['He said: "Wait." ', '"Let me see."']),
        ("  Alternatively, 3.5 maybe", ["  Alternatively, 3.5 maybe"]),
        ("...\n\n\n  Wait", ["...\n\n\n  ", "Wait"]),
        (
            "Two cases:\n1. Wait, n = 0.\n 2. Maybe n = 1. Hmm",
            ["Two cases:\n", "1. Wait, n = 0.\n ", "2. Maybe n = 1. ", "Hmm"],
        ),
        ("12. Actually no\r\nHmm", ["12. Actually no\r\n", "Hmm"]),
        ("So n = 1. Wait", ["So n = 1. ", "Wait"]),
    ],
)
def test_keywords_written_out(text: str, steps: list[str]) -> None:
    assert split_steps(text, "keywords") == steps


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_opens_a_step_in_any_case(keyword: str) -> None:
    for opening in (keyword, keyword.upper(), f"But {keyword}"):
        assert split_steps(f"x = 2. {opening}, x = 3", "keywords") == ["x = 2. ", f"{opening}, x = 3"]
        assert split_steps(f"x = 2\n{opening}", "keywords") == ["x = 2\n", opening]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "unit", ["\n", " \n", ". ", ".", "a\n\n", " ", "\n \t", "wait. ", "!)" * 5, "\u3000\n", "\n1. ", "\r\n", "\n\u3000"]
)
def test_splitting_is_linear_in_the_length(unit: str, how: Segmentation) -> None:
    text = unit * 100_000 + "x"
    assert "".join(split_steps(text, how)) == text


@pytest.mark.parametrize("text", [" \n\none\n\ntwo", "\t\n\n\none"])
def test_white_space_in_front_is_no_step_of_its_own(text: str) -> None:
    assert all(step.strip() for step in split_steps(text))


def test_numbering_counts_from_zero_and_strips() -> None:
    assert number_steps(["a = 1\n\n", "b\nc \n\n\n", "d"]) == "Step 0: a = 1\n\nStep 1: b\nc\n\nStep 2: d"
    assert number_steps([]) == ""


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_cuts_of_the_mini_world_are_exact(seed: int, hard: bool, ended: bool) -> None:
    rng = random.Random(seed)
    text = solution_text(attempt(draw_chain(rng, hard), rng, 0.5, 0.2))
    ids = MINI.encode(text, add_special_tokens=False) + [MINI.eos_token_id] * ended
    steps = split_steps(text)
    assert len(steps) >= 4
    for i, cut in enumerate(cuts(steps, ids, MINI)):
        assert cut.exact
        assert MINI.decode(ids[: cut.tokens]) == "".join(steps[:i])


def test_a_boundary_at_the_end_of_a_merged_token_is_exact() -> None:
    text = "a.\n\nb"
    ids = BPE.encode(text).ids
    assert [BPE.id_to_token(i) for i in ids] == ["a", ".\n\n", "b"]
    assert cuts(split_steps(text), ids, BPE) == [Cut(0, True), Cut(2, True)]


def test_a_boundary_inside_a_token_is_cut_after_it_and_marked() -> None:
    text = "a.\n\nSo b.\n\na"
    ids = BPE.encode(text).ids
    assert [BPE.id_to_token(i) for i in ids] == ["a", ".\n\nSo", " ", "b", ".\n\n", "a"]
    steps = split_steps(text)
    assert steps == ["a.\n\n", "So b.\n\n", "a"]
    assert cuts(steps, ids, BPE) == [Cut(0, True), Cut(2, False), Cut(5, True)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60)
@given(data=st.data())
def test_cuts_of_any_tokens_are_the_shortest_prefixes_that_cover(name: str, how: Segmentation, data: Any) -> None:
    """Any tokens: characters broken off, bytes that are no characters, special tokens, spaces that are dropped."""
    tokenizer = TOKENIZERS[name]
    breaks = [i for i in range(tokenizer.get_vocab_size()) if "\n" in decode(tokenizer, [i])]
    token = st.integers(0, tokenizer.get_vocab_size() - 1) | st.sampled_from(breaks or [0])
    ids = data.draw(st.lists(token, max_size=60))
    steps = split_steps(decode(tokenizer, ids), how)
    assert cuts(steps, ids, tokenizer) == shortest_covers(steps, ids, tokenizer)


@given(
    st.lists(st.sampled_from(["🙂", "中", "π", "\u3000", "a", ". ", "\n", "\n\n", "Wait"]), max_size=25).map("".join)
)
def test_cuts_of_any_text_are_the_shortest_prefixes_that_cover(text: str) -> None:
    for tokenizer in (TOKENIZERS["bytes"], TOKENIZERS["merged bytes"], TOKENIZERS["byte fallback"]):
        ids = tokenizer.encode(text).ids
        steps = split_steps(decode(tokenizer, ids), "keywords")
        assert cuts(steps, ids, tokenizer) == shortest_covers(steps, ids, tokenizer)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_byte_tokens_are_cut_between_any_two_characters(one: str, two: str, three: str) -> None:
    steps = [one, two, three]
    ends = [len(one.encode()), len((one + two).encode())]
    assert cuts(steps, BYTES.encode(one + two + three).ids, BYTES) == [Cut(n, True) for n in (0, *ends)]


def test_a_white_space_character_of_several_tokens_stays_whole() -> None:
    text = "a.\n\n\u3000b"
    steps = split_steps(text)
    assert steps == ["a.\n\n\u3000", "b"]
    assert cuts(steps, BYTES.encode(text).ids, BYTES) == [Cut(0, True), Cut(7, True)]


def test_a_token_with_the_first_byte_of_the_next_step_makes_the_cut_inexact() -> None:
    core = Tokenizer(models.BPE({"Ċ": 0, "ð": 1, "Ł": 2, "Ļ": 3, "Ĥ": 4, "Ċð": 5, "a": 6}, [("Ċ", "ð")]))
    core.decoder = decoders.ByteLevel()
    ids = [6, 0, 5, 2, 3, 4]
    steps = split_steps(core.decode(ids))
    assert steps == ["a\n\n", "🙂"]
    assert cuts(steps, ids, core) == [Cut(0, True), Cut(3, False)]


@pytest.mark.parametrize("name", ["merging", "merged bytes", "byte fallback"])
def test_the_pass_decodes_each_token_a_bounded_number_of_times(name: str) -> None:
    class Counting:
        tokens = 0

        def decode(self, token_ids: list[int], skip_special_tokens: bool = False) -> str:
            self.tokens += len(token_ids)
            return TOKENIZERS[name].decode(token_ids, skip_special_tokens=skip_special_tokens)

    ids = TOKENIZERS[name].encode("a b a.\n\nSo b" * 300).ids
    steps, tokenizer = split_steps(decode(TOKENIZERS[name], ids)), Counting()
    assert len(cuts(steps, ids, tokenizer)) == len(steps) == 301
    assert tokenizer.tokens < 40 * len(ids)


def test_tokens_of_another_text_are_refused() -> None:
    ids = MINI.encode("1+1=2\n\n3", add_special_tokens=False)
    for steps in (["1+1=2\n\n", "4"], ["1+1=2\n\n"], ["1+1=2\n\n", "3\n\n", "4"], []):
        with pytest.raises(ValueError, match="do not decode"):
            cuts(steps, ids, MINI)
    assert cuts([], [], MINI) == []


@cache
def real_texts() -> list[str]:
    """Attempts of real models: short and long, with their steps given or not."""

    def rows(path: str) -> Iterator[dict[str, Any]]:
        with gzip.open(SHARED / path, "rt", encoding="utf-8") as file:
            yield from (json.loads(line) for line in file if line.strip())

    texts = [t for r in rows("skyt1_long_traces/SkyT1-reflection0.2-32B.amc23.jsonl.gz") for t in r["code"]]
    texts += [t for r in rows("rg_eval_qwen25_3b/olympiadbench.jsonl.gz") for t in r["code"]]
    for part in ("gsm8k", "math"):
        with gzip.open(SHARED / "processbench" / f"{part}.json.gz", "rt", encoding="utf-8") as file:
            texts += ["\n\n".join(row["steps"]) for row in json.load(file)]
    models = ("6b_finetuning", "175b_verification")
    return texts + [r[m]["solution"] for r in rows("gsm8k/example_model_solutions.jsonl.gz") for m in models]


@needs_shared
def test_real_attempts_in_steps_are_the_attempts() -> None:
    counts = dict.fromkeys(HOW, 0)
    for text in real_texts():
        for how in HOW:
            steps = split_steps(text, how)
            assert "".join(steps) == text
            assert all(step.strip() for step in steps)
            counts[how] += len(steps)
    print(f"{len(real_texts())} attempts:", counts)
    assert len(real_texts()) > 4000
    assert counts["blank_lines"] < counts["keywords"] < counts["lines"]


def check_cuts(steps: list[str], ids: list[int], tokenizer: Any) -> int:
    """Between two exact cuts lie the tokens of the steps between them, an inexact one is passed in its last token."""
    exact, since, inexact = 0, "", 0
    for cut, step in zip(cuts(steps, ids, tokenizer), steps, strict=True):
        said = decode(tokenizer, ids[exact : cut.tokens])
        if cut.exact:
            assert said == since
            exact, since = cut.tokens, ""
        else:
            inexact += 1
            assert said.startswith(since) and said != since
            assert not decode(tokenizer, ids[exact : cut.tokens - 1]).startswith(since)
        since += step
    assert decode(tokenizer, ids[exact:]) == since
    return inexact


@needs_shared
@pytest.mark.skipif(not SMOLLM2.is_dir(), reason=f"SmolLM2 was not converted into {SMOLLM2}")
def test_cuts_of_real_attempts_with_the_tokenizer_of_a_real_model() -> None:
    tokenizer = Tokenizer.from_file(str(SMOLLM2 / "tokenizer.json"))
    steps_seen = inexact = 0
    for i, text in enumerate(real_texts()):
        steps = split_steps(text, HOW[i % len(HOW)])
        inexact += check_cuts(steps, tokenizer.encode(text, add_special_tokens=False).ids, tokenizer)
        steps_seen += len(steps)
    print(f"{steps_seen} steps, {inexact} boundaries inside a token")
    assert 0 < inexact < steps_seen // 20


@needs_shared
def test_cuts_of_what_the_mini_tokenizer_knows_of_real_attempts() -> None:
    for i, text in enumerate(real_texts()[::10]):
        ids = MINI.encode(text, add_special_tokens=False)
        check_cuts(split_steps(decode(MINI, ids), HOW[i % len(HOW)]), ids, MINI)

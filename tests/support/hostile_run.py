"""A collection whose text is hostile, and the rows of a collection as the terminal prints them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from int_lightning.collect.categories import ErrorCategory
from int_lightning.collect.store import OUTCOMES, Store
from int_lightning.defects import Defect, DefectKind
from int_lightning.inspection.terminal import example_lines
from int_lightning.inspection.views import View
from int_lightning.mini.mini_tokenizer import CHAT_TEMPLATE
from int_lightning.prompts.recorded_tokenizer import record_tokenizer
from int_lightning.types import Intervention, Outcome, Problem, Proposal, Provenance, Rollout, Sampling

HOSTILE = (
    "</span></p></details><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    " [bold red]not bold[/] [/] &amp; \"quoted\" 'single' $run {run} \x1b[31mred\x1b[0m\x1b]0;owned\x07 \x00 \x7f \x85 \r"
    " \u202eover\u202c \u2066in\u2069 \u200b \u2028 \ufeff 🙂 naïve"
)


PROVENANCE = Provenance("model", "", "vllm", "solve@1f2e3d4c", Sampling(), 0)


def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte: it can write anything, and characters beyond ASCII take several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    core = Tokenizer(models.BPE({c: i for i, c in enumerate([*special, *alphabet])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


BYTES = bytes_tokenizer()


def encode(text: str) -> list[int]:
    return list(BYTES.encode(text, add_special_tokens=False))


def decode(token_ids: Sequence[int]) -> str:
    return str(BYTES.decode(list(token_ids), skip_special_tokens=False))


def wrong_attempt(id: str, text: str) -> Rollout:
    ids, prompt = encode(text), encode("<|user|>1+2<|assistant|>")
    return Rollout(id, "p", 0, prompt, ids, [-1.0] * len(ids), text, "length", "", False, PROVENANCE)


def intervention(sample: int, content: str, rejected: Defect | None = None, location: int = 1) -> Intervention:
    return Intervention(
        id=f"p/a/{sample}/intervention",
        problem_id="p",
        rollout_id="p/a",
        proposal_id=f"p/a/{sample}",
        location=location,
        steps=3,
        content=content,
        prompt_ids=encode("<|user|>1+2<|assistant|>"),
        prefix_ids=encode("first\n") if location >= 0 else [],
        intervention_ids=encode(f"{content}\n") if location >= 0 else [],
        exact=True,
        rejected=rejected,
        guided_correct=0 if rejected else 3,
        guided_total=0 if rejected else 4,
        prefix_total=0 if rejected else 4,
    )


def proposal(sample: int, raw: str) -> Proposal:
    return Proposal(f"p/a/{sample}", "p", "p/a", sample, "policy", raw, 1, "", None)


def hostile_run(parent: Path) -> Path:
    """A collection in ``parent/run``: one problem with one accepted intervention and two rejected ones, all with hostile text."""
    folder = parent / "run"
    store = Store(folder / "dataset")
    store.commit(
        {
            "problems": [Problem("p", f"problem {HOSTILE}", f"reference {HOSTILE}", "2")],
            "attempts": [wrong_attempt("p/a", f"first\nsecond {HOSTILE}\nthird")],
            "proposals": [proposal(i, f"raw {HOSTILE}") for i in range(3)],
            "interventions": [
                intervention(0, f"instead {HOSTILE}"),
                intervention(1, "leaks", Defect(DefectKind.LEAK, f"{HOSTILE!r} (stated)")),
                intervention(2, "", Defect(DefectKind.NO_PROPOSAL, f"no tag {HOSTILE}"), location=-1),
            ],
            "categories": [ErrorCategory("p/a/0/c", "p", "p/a/0", "execution", "", PROVENANCE)],
            OUTCOMES: [Outcome("p", "x", "hard", 1, 0, 10)],
        }
    )
    BYTES.save_pretrained(parent / "model")
    record_tokenizer(store.folder, type(BYTES).from_pretrained(parent / "model"), "bytes")
    settings = {"model": str(parent / "model"), "collection": {"segmentation": "lines"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder


def printed(found: Sequence[View]) -> str:
    """The views as the terminal prints them, without colours."""
    lines = chain.from_iterable(map(example_lines, found, count(1)))
    return "\n".join(line.plain for line in lines)

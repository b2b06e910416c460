"""The on-policyness report: its numbers against written-out ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from onpolicy_runs import MODEL, POLICY, rows
from transformers import AutoModelForCausalLM

from int_lightning.evaluation.onpolicy import score
from int_lightning.learn.model import load_policy
from int_lightning.metrics import bootstrap, bootstrap_ratios
from int_lightning.types import SFTExample, UserError


def written_out(example: SFTExample) -> dict[str, tuple[int, float, float]]:
    """Tokens, NLL and entropy of each span, of the trained tokens and of all, from the model's logits in float64."""
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64)
    with torch.no_grad():
        logp = model(torch.tensor([example.token_ids])).logits[0].log_softmax(-1)
    nll = [-float(logp[t - 1, token]) for t, token in enumerate(example.token_ids) if t]
    entropy = (-(logp.exp() * logp).sum(-1)).tolist()[:-1]
    names = [(s.name, s.weight) for s in example.spans for _ in range(s.tokens)][1:]
    found = {}
    for part in {n for n, _ in names} | {"trained", "all"}:
        at = [i for i, (n, w) in enumerate(names) if part in (n, "all") or (part == "trained" and w > 0)]
        found[part] = len(at), sum(nll[i] for i in at), sum(entropy[i] for i in at)
    return found


@pytest.mark.parametrize("target", ["prefix_intervention", "intervention_only", "reference", "naive"])
def test_numbers_are_those_of_the_models_logits(run: Path, target: str) -> None:
    examples = rows(run, target)[:5]
    found = score(POLICY, examples, 0, packed=True).estimates()
    expected = [written_out(e) for e in examples]
    assert set(found) == set().union(*expected)
    for part, estimate in found.items():
        own = [e[part] for e in expected if part in e]
        assert estimate["rows"] == len(own)
        assert estimate["tokens"] == sum(n for n, _, _ in own)
        for at, quantity in ((1, "nll"), (2, "entropy")):
            means = {kind: e["mean"] for kind, e in estimate[quantity].items()}
            assert means == pytest.approx(
                {
                    "per_token": sum(row[at] for row in own) / sum(row[0] for row in own),
                    "per_row": sum(row[at] / row[0] for row in own) / len(own),
                    "per_sequence": sum(row[at] for row in own) / len(own),
                },
                abs=2e-5,
                rel=2e-5,
            )


@pytest.mark.parametrize("target", ["prefix_intervention", "prefix_intervention_suffix", "reference", "attempts"])
def test_spans_add_up_to_the_whole(run: Path, target: str) -> None:
    examples = rows(run, target)
    parts = score(POLICY, examples, 0, packed=True).parts
    spans = set(parts) - {"trained", "all"}
    assert spans == {s.name for e in examples for s in e.spans}
    assert sum(parts["all"].tokens) == sum(len(e.token_ids) - 1 for e in examples)
    assert sum(parts["trained"].tokens) == sum(s.tokens for e in examples for s in e.spans if s.weight)
    for whole, members in (("all", spans), ("trained", spans - {"prompt"})):
        for name in ("tokens", "nll", "entropy"):
            assert sum(sum(getattr(parts[s], name)) for s in members) == pytest.approx(sum(getattr(parts[whole], name)))


def test_packed_and_padded_rows_score_the_same_under_any_budget(run: Path) -> None:
    examples = rows(run, "prefix_intervention")
    whole = score(POLICY, examples, 0, packed=True).estimates()
    for budget, packed in ((16384, False), (150, True), (150, False), (1, False)):
        found = score(POLICY, examples, 0, budget, packed).estimates()
        for part in whole:
            for quantity in ("nll", "entropy"):
                for kind, estimate in whole[part][quantity].items():
                    assert found[part][quantity][kind] == pytest.approx(estimate, abs=1e-5, rel=1e-5)


def test_rows_are_read_as_they_are_scored(run: Path) -> None:
    examples, read, scored = rows(run, "attempts"), 0, 0

    def stream() -> Iterator[SFTExample]:
        nonlocal read
        for example in examples:
            assert sum(len(e.token_ids) for e in examples[scored:read]) < 8 * 50
            read += 1
            yield example

    def done(count: int) -> None:
        nonlocal scored
        scored += count

    score(POLICY, stream(), 0, 50, done=done)
    assert read == scored == len(examples)


def test_weights_that_are_not_finite_give_a_message_and_no_number(run: Path) -> None:
    broken = load_policy(MODEL, dtype=torch.float32).eval()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        score(broken, rows(run, "reference"), 0)


def test_the_interval_of_ratios_resamples_problems() -> None:
    values = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert bootstrap_ratios(values, torch.ones_like(values)) == [
        pytest.approx(bootstrap(column.contiguous())) for column in values.T
    ]
    below = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    (estimate,) = bootstrap_ratios(torch.tensor([[4.0], [0.0]], dtype=torch.float64), below)
    assert estimate == {"mean": 1.0, "low": 0.0, "high": 4.0}


def test_rows_of_one_problem_are_no_independent_evidence(run: Path) -> None:
    example = rows(run, "reference")[0]
    many = score(POLICY, [example, *rows(run, "attempts")[:9], example], 0).estimates()["trained"]["nll"]["per_row"]
    assert many["low"] < many["mean"] < many["high"]
    same = [SFTExample(e.id, "one problem", e.token_ids, e.spans) for e in rows(run, "attempts")]
    alone = score(POLICY, same, 0).estimates()["trained"]
    assert (alone["problems"], alone["rows"]) == (1, len(same))
    assert alone["nll"]["per_row"]["low"] == pytest.approx(alone["nll"]["per_row"]["high"])

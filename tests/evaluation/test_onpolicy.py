"""The on-policyness report: its numbers against written-out ones, its datasets, and the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from transformers import AutoModelForCausalLM, AutoTokenizer

import int_lightning.cli.commands
from int_lightning.__main__ import main
from int_lightning.collect.store import Store
from int_lightning.evaluation.onpolicy import score
from int_lightning.evaluation.onpolicy_sets import OnPolicySet
from int_lightning.learn.model import load_policy
from int_lightning.metrics import bootstrap, bootstrap_ratios
from int_lightning.models.resolve import resolve_model
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.types import Outcome, Problem, Provenance, Rollout, Sampling, SFTExample, Span, UserError

from commands import collect, fit_sft

MODEL = resolve_model("mini")
TOKENIZER = AutoTokenizer.from_pretrained(MODEL)
QUICK = "--engine={name: transformers, threads: 1, max_model_len: 256, max_num_seqs: 64}"
POLICY = load_policy(MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onpolicy") / "run"
    assert collect(out, QUICK) == 0
    return out


def rows(run: Path, target: Any) -> list[SFTExample]:
    return list(OnPolicySet(str(run), target).rows(TOKENIZER, PromptSet("mini")))


def report(out: Path, *args: str) -> dict[str, Any]:
    """The report of a command that has to succeed."""
    assert main(["evaluate", f"--out={out}", "--prompts=mini", "--engine.threads=1", *args]) == 0
    return json.loads((out / "results.json").read_text())["onpolicy"]


def fails(capsys: pytest.CaptureFixture[str], out: Path, *args: str) -> str:
    """What a command that has to fail says."""
    try:
        status = main(["evaluate", f"--out={out}", "--prompts=mini", *args])
    except SystemExit as exit_:
        status = exit_.code
    said = capsys.readouterr().err
    assert status not in (0, None)
    assert "Traceback" not in said
    return said


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


def test_the_command_reports_every_dataset_under_every_model(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(int_lightning.cli.commands, "open_sampler")
    assert fit_sft(tmp_path / "sft", run, "--trainer.max_steps=6") == 0
    sets = {"own": "attempts", "int": "prefix_intervention", "reference": "reference"}
    args = [f"--onpolicy.{name}={{folder: {run}, target: {target}}}" for name, target in sets.items()]
    models = ["--models.base=mini", f"--models.patched={tmp_path / 'sft' / 'model'}"]
    found = report(tmp_path / "report", *args, *models)

    def trained(model: str, name: str, quantity: str = "nll") -> float:
        return found[model][name]["parts"]["trained"][quantity]["per_row"]["mean"]

    assert list(found) == ["base", "patched"]
    assert trained("base", "own") < trained("base", "int") < trained("base", "reference")
    assert trained("patched", "int") < trained("base", "int")
    assert trained("patched", "own", "entropy") != trained("base", "own", "entropy")
    own = {(m, s): result["own_rollouts"] for m, results in found.items() for s, result in results.items()}
    assert [key for key, value in own.items() if value] == [("base", "own")]
    for name, target in sets.items():
        assert found["base"][name]["rows"] == len(rows(run, target))
        assert found["base"][name]["left_out"] == 0
    said = capfd.readouterr().out
    assert "On-policyness under base" in said and "On-policyness under patched" in said
    assert f"{trained('base', 'int'):.3f} [" in said
    assert "own rollouts" in said
    height, width = imread(tmp_path / "report" / "onpolicy.png").shape[:2]
    report(tmp_path / "alone", args[0])
    assert imread(tmp_path / "alone" / "onpolicy.png").shape[0] == height / 2 < width


def test_solutions_from_a_file_score_as_references_of_the_collection(run: Path, tmp_path: Path) -> None:
    hard = {e.problem_id for e in rows(run, "reference")}
    problems = [p for p in Store(run / "dataset").read("problems", Problem) if p.id in hard]
    lines = [json.dumps({"problem": p.problem, "solution": p.solution}) + "\n" for p in problems]
    file = tmp_path / "solutions.jsonl"
    file.write_text("".join(lines))
    from_file = f"--onpolicy.file={{file: {file}}}"
    found = report(tmp_path / "out", from_file, f"--onpolicy.collected={{folder: {run}, target: reference}}")["mini"]
    assert found["file"]["parts"]["trained"]["tokens"] == found["collected"]["parts"]["trained"]["tokens"]
    for part in ("prompt", "solution", "end"):
        for quantity in ("nll", "entropy"):
            for kind in ("per_token", "per_row", "per_sequence"):
                a, b = (found[s]["parts"][part][quantity][kind]["mean"] for s in ("file", "collected"))
                assert a == pytest.approx(b, rel=1e-5)
    few = report(tmp_path / "few", from_file, "--limit=2")["mini"]["file"]
    assert (few["rows"], few["problems"]) == (2, 2)


def test_a_rollout_that_was_cut_off_has_no_end(tmp_path: Path) -> None:
    def rollout(name: str, finish: str) -> Rollout:
        provenance = Provenance("mini", f"weights of {name}", "vllm", "solve@1f2e3d4c", Sampling(), 0)
        return Rollout(name, "p", 0, [5, 6], [7, 8, 1], [-1.0] * 3, "", finish, "", False, provenance)

    Store(tmp_path / "dataset").commit(
        {
            "naive": [rollout("p/0", "stop"), rollout("p/1", "length")],
            "outcomes": [Outcome("p", "x.jsonl", "hard", 2, 0, 6)],
        }
    )
    data = OnPolicySet(str(tmp_path), "naive")
    whole, cut = data.rows(TOKENIZER, PromptSet("mini"))
    assert whole.token_ids == cut.token_ids == [5, 6, 7, 8, 1]
    assert whole.spans == [Span("prompt", 2, 0.0), Span("solution", 2, 1.0), Span("end", 1, 1.0)]
    assert cut.spans == [Span("prompt", 2, 0.0), Span("solution", 3, 1.0), Span("end", 0, 1.0)]
    assert data.samplers() == {"weights of p/0", "weights of p/1"}
    assert OnPolicySet(str(tmp_path), "reference").samplers() == set()


def test_rows_beyond_the_models_context_are_left_out_and_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = sorted(len(e.token_ids) for e in rows(run, "attempts"))
    data = f"--onpolicy.own={{folder: {run}, target: attempts}}"
    narrow = tmp_path / "narrow"
    shutil.copytree(MODEL, narrow)
    config = json.loads((narrow / "config.json").read_text())
    middle = lengths[len(lengths) // 2]
    (narrow / "config.json").write_text(json.dumps(config | {"max_position_embeddings": middle}))
    found = report(tmp_path / "out", data, f"--model={narrow}")[str(narrow)]["own"]
    assert found["left_out"] == sum(n > middle for n in lengths) > 0
    assert found["rows"] == sum(n <= middle for n in lengths)
    (narrow / "config.json").write_text(json.dumps(config | {"max_position_embeddings": lengths[0] - 1}))
    said = fails(capsys, tmp_path / "none", data, f"--model={narrow}")
    assert "onpolicy.own" in said
    assert "longer than the context" in said


def test_rows_of_another_tokenizer_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other)
    (other / "dataset" / "tokenizer.json").write_text(json.dumps({"model": "another", "fingerprint": "0"}))
    assert "another" in fails(capsys, tmp_path / "out", f"--onpolicy.x={{folder: {other}}}")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{folder: gone}", ["gone", "collect"]),
        ("{folder: RUN, target: rollout}", ["onpolicy.x", "rollout", "no rows"]),
        ("{folder: RUN, target: refernce}", ["onpolicy", "refernce"]),
        ("{folder: RUN, file: a.jsonl}", ["either a folder or a file"]),
        ("{target: reference}", ["either a folder or a file"]),
        ("{file: gone.jsonl}", ["gone.jsonl", "no such file"]),
    ],
)
def test_a_dataset_of_no_use_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, said: list[str]
) -> None:
    message = fails(capsys, tmp_path / "out", f"--onpolicy.x={data.replace('RUN', str(run))}")
    for part in said:
        assert part in message
    assert not (tmp_path / "out" / "onpolicy.png").exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"problem": "1+1"}, ["row 2", "'solution'"]),
        ({"problem": "1+1", "solution": " "}, ["row 2", "'solution'"]),
        ({"problem": 3, "solution": "2"}, ["row 2", "'problem'"]),
        ([], ["row 2", "JSON object"]),
    ],
)
def test_a_row_of_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: object, said: list[str]
) -> None:
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps({"problem": "1+1", "solution": "2"}) + "\n" + json.dumps(row) + "\n")
    message = fails(capsys, tmp_path / "out", f"--onpolicy.x={{file: {file}}}")
    for part in [str(file), *said]:
        assert part in message


def test_text_that_is_not_utf8_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "solutions.jsonl"
    file.write_bytes(b'{"problem": "1+1", "solution": "2\xff"}\n')
    assert "UTF-8" in fails(capsys, tmp_path / "out", f"--onpolicy.x={{file: {file}}}")


def test_limit_and_nothing_to_evaluate_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "limit is 0" in fails(capsys, tmp_path / "a", f"--onpolicy.x={{folder: {run}}}", "--limit=0")
    assert "onpolicy" in fails(capsys, tmp_path / "b")

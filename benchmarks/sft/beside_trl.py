"""SFT on interventions beside TRL's SFTTrainer: trained tokens per second and peak memory on the same model, rows and precision.

    python -m benchmarks.sft.beside_trl --device cpu
    python -m benchmarks.sft.beside_trl --device cuda --model-shape qwen3-4b --lengths 7168 16384

Every fit is a process of its own: a first step that does not count, then ``--steps`` more. TRL gets a virtual environment next to
the cached models, with our versions of torch and transformers. All its ways run once; then the fastest takes turns with ours.
The learning rate is 0, which costs the same as any other, so that all ways must have the same losses in whatever order they take
the rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import AutoConfig, AutoTokenizer

from benchmarks.csv_file import write_csv
from benchmarks.fits import OURS, RESULTS, TRL, Fit, fastest, fit_environment, peer_python
from benchmarks.machine import device_name
from benchmarks.sft.report import Line, Setting, disagreement, lines, operations, print_table
from benchmarks.sft.rows import (
    SHAPES,
    make_interventions,
    rows_in_order,
    write_collection,
    write_json_lines,
    write_random_model,
)
from int_lightning.models.resolve import resolve_model

TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}  # nats
LENGTHS = {"cpu": (64, 768), "cuda": (7168, 16384)}  # tokens

Ways = dict[str, dict[str, Any]]


def our_ways(device: str, longest: int) -> Ways:
    """Arguments of ``InterventionData`` and, as ``module``, of ``SFTModule``."""
    module = {"gradient_checkpointing": device == "cuda"}
    return {
        "packed": {"packing": True, "max_tokens": longest, "module": module},
        "packed, two thirds": {"packing": True, "max_tokens": longest * 2 // 3, "module": module},
        "padded": {"packing": False, "max_tokens": longest, "module": module},
    }


def trl_ways(device: str, batch_size: int, longest: int, mean: float) -> Ways:
    """Arguments of ``SFTConfig`` and, as ``model``, of the model. On CUDA all use Liger's kernels and checkpointing, and flash
    attention where rows share a sequence.

    Args:
        batch_size: Rows of an optimiser step.
        longest: Tokens of the longest row.
        mean: Tokens of the average row.
    """

    def micro(rows: int) -> dict[str, Any]:
        return {"per_device_train_batch_size": rows, "gradient_accumulation_steps": -(-batch_size // rows)}

    grouped = {"train_sampling_strategy": "group_by_length"}
    packs = {**micro(1), "gradient_accumulation_steps": max(1, round(batch_size * mean / longest))}
    packed = {**packs, "packing": True, "max_length": longest}
    if device == "cpu":
        return {
            "1 row at a time": micro(1),
            "2 rows of like length": {**micro(2), **grouped},
            "4 rows of like length": {**micro(4), **grouped},
            f"{batch_size} rows padded": micro(batch_size),
            "4 rows padding-free": {**micro(4), "padding_free": True},
            "packed": packed,
            "1 row at a time, checkpointing": {**micro(1), "gradient_checkpointing": True},
        }
    lean = {"use_liger_kernel": True, "gradient_checkpointing": True}
    flash = {**lean, "model": {"attn_implementation": "kernels-community/flash-attn2"}}
    return {
        "1 row at a time": {**micro(1), **lean},
        "2 rows padding-free": {**micro(2), **flash, "padding_free": True},
        "packed": {**packed, **flash},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit status."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    if options.device == "cuda" and not torch.cuda.is_available():
        console.print("No CUDA device here: nothing was measured.", style="bold red")
        return 1
    torch.set_num_threads(options.threads)
    options.lengths = tuple(options.lengths or LENGTHS[options.device])
    python = {OURS: Path(sys.executable), TRL: peer_python(options.device)}
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        setting, job, ways = _prepare(options, Path(folder))
        for dtype in options.dtype or (["float32"] if options.device == "cpu" else ["bfloat16"]):
            fits = _measure(python, {**job, "dtype": dtype}, ways, options.repeats, console)
            difference = disagreement(fits)
            if not difference <= TOLERANCE[dtype]:  # so that NaN is caught too
                raise SystemExit(f"{dtype}: losses differ by {difference:.4f} nats: these are not the same fits")
            console.print(f"{dtype}: losses of all ways agree within {difference:.1e} nats")
            table = lines(fits, setting, dtype)
            print_table(console, table)
            found += table
    if options.device == "cpu":
        found += _not_measured(setting, options.batch_size)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"sft-{options.device}.csv"
    write_csv(found, path)
    console.print(f"wrote {path}")
    return 0


def _prepare(options: argparse.Namespace, folder: Path) -> tuple[Setting, dict[str, Any], dict[str, Ways]]:
    """The setting and the job that all fits share, and the ways of both sides."""
    model = resolve_model(options.model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    if options.model_shape:
        model = str(folder / "model")
        write_random_model(Path(model), options.model_shape, tokenizer)
    shortest, longest = options.lengths
    count = options.batch_size * (1 + options.steps)
    interventions = make_interventions(tokenizer, count, shortest, longest)
    write_collection(folder, interventions)
    rows = rows_in_order(interventions, options.batch_size)
    write_json_lines(folder / "rows.jsonl", rows)
    setting = Setting(
        device_name(options.device),
        options.model_shape or options.model,
        f"{shortest} to {longest}",
        options.batch_size,
        options.steps,
        operations(AutoConfig.from_pretrained(model), rows),
    )
    job = {
        "model": model,
        "collection": str(folder),
        "rows": str(folder / "rows.jsonl"),
        "job": str(folder / "job.json"),
    }
    job |= {"device": options.device, "threads": options.threads, "batch_size": options.batch_size}
    mean = sum(len(row.token_ids) for row in rows) / len(rows)
    ways = {
        OURS: our_ways(options.device, longest),
        TRL: trl_ways(options.device, options.batch_size, longest, mean),
    }
    return setting, job, ways


def _measure(
    python: dict[str, Path], job: dict[str, Any], ways: dict[str, Ways], repeats: int, console: Console
) -> list[Fit]:
    """All ways once, then ours and TRL's fastest in turns."""
    fits: list[Fit] = []
    for number in range(repeats):
        theirs = [fastest(fits, TRL)] if number else list(ways[TRL])
        for provider, way in _turns(list(ways[OURS]), theirs):
            fit = Fit(provider, way, number, **_run(python[provider], provider, {**job, "way": ways[provider][way]}))
            console.print(
                f"{job['dtype']}, {provider}, {way}: {fit.speed:.1f} trained tokens/s, {fit.peak / 2**30:.2f} GiB, "
                f"loss {fit.loss:.4f} {fit.neighbours}"
            )
            fits.append(fit)
    return fits


def _turns(ours: list[str], theirs: list[str]) -> Iterator[tuple[str, str]]:
    for our, their in zip_longest(ours, theirs):
        if our is not None:
            yield OURS, our
        if their is not None:
            yield TRL, their


def _run(python: Path, provider: str, job: dict[str, Any]) -> dict[str, Any]:
    """One fit in a process of its own; what it reports."""
    module = "benchmarks.sft.our_fit" if provider == OURS else "benchmarks.sft.trl_fit"
    Path(job["job"]).write_text(json.dumps(job), encoding="utf-8")
    command = [str(python), "-m", module, job["job"]]
    done = subprocess.run(command, env=fit_environment(job["threads"]), capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{provider} with {job['way']} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _not_measured(setting: Setting, batch_size: int) -> list[Line]:
    """Lines for the GPU, where only the CPU was available."""
    shortest, longest = LENGTHS["cuda"]
    gpu = replace(setting, model="qwen3-4b", lengths=f"{shortest} to {longest}")
    ways = {OURS: our_ways("cuda", longest), TRL: trl_ways("cuda", batch_size, longest, longest)}
    shape = gpu.model, "bfloat16", gpu.lengths, gpu.batch_size, gpu.steps
    pairs = [*product([OURS], ways[OURS]), *product([TRL], ways[TRL])]
    return [Line(provider, way, *shape, note="not measured: needs a CUDA device") for provider, way in pairs]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=found, help=f"here: {found}")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a model as `int-lightning fit` takes it")
    parser.add_argument(
        "--model-shape", choices=list(SHAPES), help="random weights of this shape, the model's tokenizer"
    )
    parser.add_argument("--lengths", type=int, nargs=2, metavar=("LEAST", "MOST"), help="tokens of a row")
    parser.add_argument("--dtype", action="append", choices=list(TOLERANCE), help="may be given twice")
    parser.add_argument("--batch-size", type=int, default=8, help="rows of an optimiser step")
    parser.add_argument("--steps", type=int, default=3, help="optimiser steps that are measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of torch, on the CPU")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV file")
    return parser


if __name__ == "__main__":
    sys.exit(main())

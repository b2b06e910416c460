"""Datasets of the on-policyness report: what SFT trains on, rollouts of a policy, and solutions from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from transformers import PreTrainedTokenizerBase

from int_lightning.collect.store import Store
from int_lightning.prompts.chat import encode_chat, encode_solution
from int_lightning.prompts.prompt_set import PromptSet
from int_lightning.prompts.recorded_tokenizer import check_tokenizer
from int_lightning.sft.targets import Target, TargetConfig, examples
from int_lightning.sources.row_files import file_rows
from int_lightning.types import Problem, Rollout, SFTExample, Span, UserError

Rollouts = Literal["attempts", "naive"]


@dataclass(frozen=True)
class OnPolicySet:
    """One dataset of the report, from a collection or from a file.

    Args:
        folder: Run folder of ``int-lightning collect``.
        target: Which of its rows: a target of SFT, or ``attempts`` or ``naive``, all rollouts of that table, right or wrong.
        file: Solutions from elsewhere: a JSONL, CSV or Parquet file with ``problem``, ``solution`` and optionally ``id``. They
            follow the policy's own solve prompt, and end the assistant's turn.
    """

    folder: str | None = None
    target: Target | Rollouts = "prefix_intervention"
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.file is None):
            raise UserError("a dataset of onpolicy has either a folder or a file: give one of them")

    def __str__(self) -> str:
        return self.file or f"{self.folder} ({self.target})"

    def rows(self, tokenizer: PreTrainedTokenizerBase, prompts: PromptSet) -> Iterator[SFTExample]:
        """The rows, streamed.

        Args:
            tokenizer: Of the policy.
            prompts: Its solve prompt, for a file.

        Raises:
            UserError: if the folder is not a collection or was made with another tokenizer, or naming the row of a file that
                cannot be used.
        """
        if self.file is not None:
            yield from _from_file(Path(self.file), tokenizer, prompts)
            return
        store = self._store()
        check_tokenizer(store.folder, tokenizer)
        if self.target == "attempts" or self.target == "naive":
            yield from map(_rollout_row, store.read(self.target, Rollout))
        else:
            yield from examples(store, TargetConfig(self.target), tokenizer)

    def samplers(self) -> set[str]:
        """Fingerprints of the policies that rollouts were drawn from; none for other datasets."""
        if self.file is not None or self.target not in get_args(Rollouts):
            return set()
        return {provenance["fingerprint"] for (provenance,) in self._store().columns(self.target, "provenance")}

    def _store(self) -> Store:
        store = _opened(Path(self.folder or "") / "dataset")
        if not store.folder.is_dir():
            raise UserError(
                f"{self.folder} holds no dataset: give the run folder of an `int-lightning collect`, or a file of solutions"
            )
        return store


@lru_cache
def _opened(dataset: Path) -> Store:
    """A dataset that several models read, whose shards are checked once."""
    return Store(dataset)


def _rollout_row(rollout: Rollout) -> SFTExample:
    ended = int(rollout.finish == "stop")
    return _row(rollout.id, rollout.problem_id, rollout.prompt_ids.tolist(), rollout.token_ids.tolist(), ended)


def _from_file(path: Path, tokenizer: PreTrainedTokenizerBase, prompts: PromptSet) -> Iterator[SFTExample]:
    for number, row in file_rows(path, ["problem", "solution"], ["id"]):
        where = f"{path}: row {number}"
        if isinstance(row, str):
            raise UserError(f"{where}: {row}")
        problem, solution = (_text(row, key, where) for key in ("problem", "solution"))
        prompt_ids = encode_chat(tokenizer, prompts.solve(Problem("", problem, "", "")))
        ids = encode_solution(tokenizer, solution, where)
        yield _row(str(row.get("id") or where), problem, prompt_ids, ids, 1)


def _text(row: Mapping[str, object], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: key {key!r} is missing or has no text (it has: {', '.join(row)}): fill it in")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: key {key!r} is not UTF-8: save the file as UTF-8") from error
    return value.strip()


def _row(id: str, problem_id: str, prompt_ids: list[int], solution_ids: list[int], ended: int) -> SFTExample:
    spans = [Span("prompt", len(prompt_ids), 0.0), Span("solution", len(solution_ids) - ended, 1.0)]
    return SFTExample(id, problem_id, [*prompt_ids, *solution_ids], [*spans, Span("end", ended, 1.0)])

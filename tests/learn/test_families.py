"""Every causal-LM family of transformers, tiny: rows are packed, padded or refused in one line, as the table says."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from benchmarks.families.checks import check
from benchmarks.families.table import PAGE, page, read_rows, versions
from benchmarks.families.tiny_models import FAMILIES

ROWS = {row.family: row for row in read_rows()}
SAME_VERSION = f"transformers {transformers.__version__}" in PAGE.read_text("utf-8")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_packed_padded_or_refused_as_the_table_says(family: str, tmp_path: Path) -> None:
    found = check(family, tmp_path)
    if not SAME_VERSION:
        pytest.skip("the table is of another version of transformers")
    kinds = found.rows.partition(":")[0], ROWS[family].rows.partition(":")[0]
    assert kinds[0] == kinds[1]
    assert found.trains == ROWS[family].trains


def test_the_page_is_made_of_the_rows() -> None:
    if not SAME_VERSION:
        pytest.skip("the table is of another version of transformers")
    rows = list(ROWS.values())
    assert [row.family for row in rows] == list(FAMILIES)
    made, committed = page(rows, versions()), PAGE.read_text("utf-8")
    assert made[made.index("| family") :] == committed[committed.index("| family") :]


def test_no_family_ends_in_a_third_state() -> None:
    """A family that trains is equal in the engine or refused, unless vLLM has no code for it."""
    outcomes = ("equal", "refused", "not in vLLM")
    trained = [row for row in ROWS.values() if row.trains]
    assert [row for row in trained if not row.vllm.startswith(outcomes)] == []

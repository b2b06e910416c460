"""Results as files in a run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from int_lightning.types import UserError

RESULTS = "results.json"
"""Of a command that came to its end, in its run's folder."""

DRY_RUN = "dry-run.json"
"""What a dry run found, in a folder that stays free for any run."""


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file aside and renames it: it is there whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    aside = path.with_suffix(".tmp")
    with written(path):
        aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        aside.rename(path)


def digest(value: Any) -> str:
    """16 hex digits that stand for a value of JSON's kinds."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=8).hexdigest()


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Where writing ``path`` fails for lack of room or access, says so and that nothing else was lost."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror}). What was written before is intact: make room or access and run "
            "the command again"
        ) from error

"""Results as JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file aside and renames it: it is there whole or not at all."""
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    aside.rename(path)

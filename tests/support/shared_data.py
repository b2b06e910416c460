"""Data beside the project, for the tests that use it; they skip, saying so, where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("INT_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: set INT_SHARED_DATA to its folder")

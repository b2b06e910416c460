"""The exception inside the reading of a proposal."""

from __future__ import annotations


class DefectError(Exception):
    """Why a proposal cannot be used (kind: detail)."""

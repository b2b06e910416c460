"""The exception inside the reading of a proposal."""

from __future__ import annotations

from int_lightning.types import Defect, DefectKind


class DefectError(Exception):
    """Why a proposal cannot be used."""

    def __init__(self, kind: DefectKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.defect = Defect(kind, detail)

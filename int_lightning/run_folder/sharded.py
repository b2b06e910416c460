"""Checks a folder of shards that several processes wrote: it is whole, and reading it does not run code.

PyTorch's reader unpickles the folder's index and all that is not a tensor; here both are read first, as plain data.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

_INDEX = ".metadata"
_DATA = {
    "torch.distributed.checkpoint.metadata": None,
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", *(name for name, value in vars(torch).items() if isinstance(value, torch.dtype))},
    "pathlib": {"PosixPath"},
    "collections": {"OrderedDict"},
}
"""What an index is made of: modules and names in them; None stands for all that a module itself defines."""


class _Index(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        names = _DATA.get(module, set())
        found = super().find_class(module, name) if names is None or name in names else None
        if found is None or (names is None and getattr(found, "__module__", None) != module):
            raise pickle.UnpicklingError(f"{module}.{name} does not belong in an index")
        return found


def damage(folder: Path) -> str | None:
    """Reads a whole folder of shards, for the checksums; returns what is wrong with it, None if nothing is."""
    try:
        with (folder / _INDEX).open("rb") as file:
            metadata = _Index(file).load()
    except Exception:
        return f"its {_INDEX} is missing or damaged"
    if not isinstance(metadata, Metadata):
        return f"its {_INDEX} is that of something else"
    for index, stored in metadata.storage_data.items():
        shard = folder / Path(stored.relative_path).name
        values = isinstance(metadata.state_dict_metadata[index.fqn], BytesStorageMetadata)
        try:
            with shard.open("rb") as file:
                file.seek(stored.offset)
                _check(file.read(stored.length), values)
        except Exception:
            return f"its {shard.name} is missing or damaged"
    return None


def _check(item: bytes, values: bool) -> None:
    with zipfile.ZipFile(io.BytesIO(item)) as archive:
        if archive.testzip() is not None:
            raise zipfile.BadZipFile
    if values:
        torch.load(io.BytesIO(item), weights_only=True)

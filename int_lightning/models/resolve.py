"""Where a model folder comes from: the shipped mini model, SmolLM2 or Gemma 3 out of a Python package, a path, or a hub id."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from int_lightning.model_folder.check import check_model_folder
from int_lightning.model_folder.files import weight_files
from int_lightning.models.gemma3 import GEMMA3, gemma3_folder
from int_lightning.models.smollm2 import SMOLLM2, smollm2_folder
from int_lightning.types import UserError

MINI = "mini"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_CHUNK = 1 << 22
_HUB_SECONDS = 4.0


def resolve_model(name: str) -> str:
    """The local folder of a model, converted or checked as needed. A hub id ``org/name`` is returned as it is.

    Args:
        name: ``mini``, ``smollm2-135m-instruct``, ``gemma3-270m``, a folder, or a hub id. ``org/name`` is a path if
            there is a folder ``org``.

    Raises:
        UserError: if the model does not exist, its package is not installed, or the folder is incomplete or damaged.
    """
    if name == MINI:
        folder = Path(__file__).parents[1] / "mini" / "base"
    elif name == SMOLLM2:
        folder = smollm2_folder()
    elif name == GEMMA3:
        folder = gemma3_folder()
    else:
        folder = Path(name).expanduser()
        if not folder.exists():
            if _HUB_ID.fullmatch(name) and not folder.parent.exists():
                check_hub_model(name)
                return name
            raise UserError(
                f"model {name!r}: no such folder: give a path that exists, a hub id org/name, {MINI!r}, {SMOLLM2!r} or {GEMMA3!r}"
            )
    check_model_folder(folder)
    return str(folder)


def check_hub_model(name: str) -> None:
    """Checks that a model is in the local cache of the hub, or that the hub can be reached and has it.

    Raises:
        UserError: after a few seconds at most, saying what is wrong.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return
    remedy = f"give the path of a model folder that exists, {MINI!r}, {SMOLLM2!r} or {GEMMA3!r}"
    try:
        HfApi().model_info(name, timeout=_HUB_SECONDS)
    except RepositoryNotFoundError as error:
        raise UserError(
            f"model {name!r}: neither a folder nor a model of the Hugging Face hub (or one that needs a login): {remedy}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise UserError(
            f"model {name!r}: no such folder, not in the hub's cache, and HF_HUB_OFFLINE is set: {remedy}"
        ) from error
    except HfHubHTTPError as error:
        raise UserError(f"model {name!r}: the Hugging Face hub refuses it ({error}): {remedy}") from error
    except Exception as error:  # errors of connections: their classes change with the version of the hub's client
        raise UserError(
            f"model {name!r}: no such folder, not in the hub's cache, and the hub cannot be reached "
            f"({type(error).__name__}): {remedy}"
        ) from error


def fingerprint(folder: str | Path) -> str:
    """BLAKE2b (32 hex digits) of the files that hold a folder's weights, in the order of their names.

    Files are hashed again only if their size or modification time changed.

    Raises:
        UserError: if one is missing.
    """
    stats = [(path, path.stat()) for path in weight_files(folder)]
    return _digest(tuple((str(path.resolve()), stat.st_mtime_ns, stat.st_size) for path, stat in stats))


@lru_cache(maxsize=256)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, _, _ in files:
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()

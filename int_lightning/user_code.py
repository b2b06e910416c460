"""The user's code and folders, which a config may name.

Modules are found where Python finds them, in the working directory, and beside the config.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from int_lightning.types import UserError

_folders: list[Path] = []


def look_also_in(folders: Iterable[Path]) -> None:
    """Adds folders in which modules and prompt sets are found, after all others."""
    for folder in (f.resolve() for f in folders):
        if folder not in _folders:
            _folders.append(folder)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def find_folder(name: str) -> Path:
    """A folder, relative to the working directory or else to one of the configs."""
    given = Path(name).expanduser()
    return next((f / given for f in (Path(), *_folders) if (f / given).is_dir()), given)


def load(name: str, key: str) -> Any:
    """The object that ``package.module.name`` or ``file.py:name`` names.

    Args:
        name: Its name.
        key: The key of the config, for the message.

    Raises:
        UserError: if it does not exist, or if its module cannot be imported.
    """
    file, colon, attribute = name.rpartition(":")
    if not colon:
        module, _, attribute = name.removeprefix("./").removesuffix(".py").rpartition(".")
        file = f"{module}.py" if "/" in name else ""
    if not file and not module:
        raise UserError(f"{key}: {name!r} does not name a module: write module.name, or file.py:name")
    loaded = _load_file(file, key) if file else _load_module(module, key)
    if not hasattr(loaded, attribute):
        public = [n for n, value in vars(loaded).items() if callable(value) and not n.startswith("_")]
        near = get_close_matches(attribute, public, 1) or public[:1]
        hint = f"write {name.removesuffix(attribute)}{near[0]}" if near else "define it there"
        raise UserError(f"{key}: {loaded.__file__ or loaded.__name__} has no {attribute!r}: {hint}")
    return getattr(loaded, attribute)


def _load_module(module: str, key: str) -> ModuleType:
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise UserError(
            f"{key}: the module {package!r} does not exist: put {package}.py into the working directory or beside the config, or "
            "install its package"
        )
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not error.name or not module.startswith(error.name):  # something that it imports is missing
            raise UserError(f"{key}: the module {module} cannot be imported: {_reason(error)}") from error
        parent, _, name = error.name.rpartition(".")
        near = get_close_matches(name, [m.name for m in iter_modules(import_module(parent).__path__)], 1)
        hint = f"did you mean {parent}.{near[0]}?" if near else "check its name"
        raise UserError(f"{key}: the module {error.name!r} does not exist: {hint}") from error
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the run in silence
        raise UserError(f"{key}: the module {module} cannot be imported: {_reason(error)}") from error


def _load_file(file: str, key: str) -> ModuleType:
    given = Path(file).expanduser()
    path = next((f / given for f in (Path(), *_folders) if (f / given).is_file()), None)
    if path is None:
        raise UserError(
            f"{key}: the file {file} does not exist: give its path from the working directory or from the config's folder"
        )
    name = f"file {path.resolve()}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"{key}: {path} is not a Python file: give one that ends with .py")
        sys.modules[name] = module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(f"{key}: {path} cannot be imported: {_reason(error)}") from error
    return sys.modules[name]


def _reason(error: BaseException) -> str:
    """An exception in one line, with the line of code that raised it."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}: " if trace else ""
    where = "" if "importlib" in where else where
    return f"{where}{type(error).__name__}: {error}"

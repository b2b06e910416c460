"""Arguments of classes and methods, read from the source of their signatures and docstrings without importing anything heavy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from docstring_parser import DocstringParam, parse

Definition = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True)
class Argument:
    """An argument: dotted name, type, default ("" if it must be given) and description."""

    name: str
    type: str
    default: str
    description: str


def summary(module: str, name: str) -> str:
    """The first paragraph of a docstring, in one line."""
    text = parse(ast.get_docstring(_find(module, name)[1]) or "").short_description or ""
    return text.replace("``", "`").replace("\n", " ")


def arguments(module: str, name: str) -> list[Argument]:
    """Arguments of a class, or of ``Class.method``, in their order; a dataclass is replaced by its own arguments.

    Raises:
        LookupError: if no such class exists.
    """
    return list(_arguments(*_find(module, name), {}))


def _arguments(module: str, found: Definition, given: dict[str, str]) -> Iterator[Argument]:
    """``given`` are values in place of the defaults."""
    described = {
        p.arg_name: " ".join((p.description or "").replace("``", "`").split()) for p in _documented(module, found)
    }
    for where, name, annotation, default in _parameters(module, found):
        inner, always = _dataclass(where, annotation), isinstance(default, ast.Call)
        if inner is None or not always:
            value = given.get(name, "" if default is None else _shown(default))
            yield Argument(name, _type(where, annotation), value, described.get(name, ""))
        if inner is not None:
            keywords = default.keywords if isinstance(default, ast.Call) else []
            values = {k.arg: _shown(k.value) for k in keywords if k.arg}
            item = f"{name}[]" if "list[" in ast.unparse(annotation) else name
            for a in _arguments(*inner, values):
                yield Argument(
                    f"{item}.{a.name}", a.type, a.default or ("" if always else "to be given"), a.description
                )


def _documented(module: str, found: Definition) -> list[DocstringParam]:
    documented = list(parse(ast.get_docstring(found) or "").params)
    if not isinstance(found, ast.ClassDef):
        return documented
    for inner in found.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            documented += parse(ast.get_docstring(inner) or "").params
    if not documented and found.bases:
        with suppress(LookupError):
            documented += _documented(*_find(module, ast.unparse(found.bases[0])))
    return documented


def _parameters(module: str, found: Definition) -> Iterator[tuple[str, str, ast.expr, ast.expr | None]]:
    """Module, name, annotation and default of each."""
    if isinstance(found, ast.ClassDef):
        init = next((f for f in found.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
        if any("dataclass" in ast.unparse(d) for d in found.decorator_list):
            fields = (f for f in found.body if isinstance(f, ast.AnnAssign))
            yield from ((module, ast.unparse(f.target), f.annotation, f.value) for f in fields)
        elif init is not None:
            yield from _parameters(module, init)
        elif found.bases:
            try:
                yield from _parameters(*_find(module, ast.unparse(found.bases[0])))
            except LookupError:  # a base of another package, which takes nothing that a config gives
                return
        return
    args = [*found.args.args, *found.args.kwonlyargs]
    defaults: list[ast.expr | None] = [None] * (len(found.args.args) - len(found.args.defaults))
    defaults += [*found.args.defaults, *found.args.kw_defaults]
    for arg, default in zip(args, defaults, strict=True):
        if arg.annotation is not None:
            yield module, arg.arg, arg.annotation, default


def _dataclass(module: str, annotation: ast.expr) -> tuple[str, ast.ClassDef] | None:
    """The dataclass in an argument's type."""
    for name in (n.id for n in ast.walk(annotation) if isinstance(n, ast.Name) and n.id[0].isupper()):
        with suppress(LookupError):
            where, found = _find(module, name)
            if isinstance(found, ast.ClassDef) and any("dataclass" in ast.unparse(d) for d in found.decorator_list):
                return where, found
    return None


def _type(module: str, annotation: ast.expr) -> str:
    if isinstance(annotation, ast.BinOp):  # a union
        return f"{_type(module, annotation.left)} | {_type(module, annotation.right)}"
    aliases = list(_aliases(module, annotation.id)) if isinstance(annotation, ast.Name) else []
    if aliases:
        where, assigned = aliases[0]
        return _type(where, assigned.value)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Literal":
        values = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return " | ".join(_literal(module, value) for value in values)
    text = ast.unparse(annotation)
    for long, short in (("OptimizerCallable", "Optimizer"), ("LRSchedulerCallable", "LRScheduler"), ("None", "null")):
        text = text.replace(long, short)
    return text


def _literal(module: str, value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else _type(module, value)


def _aliases(module: str, name: str) -> Iterator[tuple[str, ast.Assign]]:
    for statement in _tree(module).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in statement.targets
        ):
            yield module, statement
        elif isinstance(statement, ast.ImportFrom) and any(a.name == name for a in statement.names):
            source = statement.module or ""
            yield from _aliases(source, name) if source.startswith("int_lightning") else ()


def _shown(default: ast.expr) -> str:
    if ast.unparse(default) == "field(default_factory=dict)":
        return "{}"
    if isinstance(default, ast.Constant):
        value = default.value
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value) or '""'
    return ast.unparse(default).removeprefix("torch.optim.").removesuffix("()")


def _find(module: str, name: str) -> tuple[str, Definition]:
    """A class, or a method of one, and the module that defines it."""
    name, _, method = name.partition(".")
    for statement in _tree(module).body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            if not method:
                return module, statement
            (found,) = [f for f in statement.body if isinstance(f, ast.FunctionDef) and f.name == method]
            return module, found
        if isinstance(statement, ast.ImportFrom) and statement.module and any(a.name == name for a in statement.names):
            return _find(statement.module, f"{name}.{method}" if method else name)
    raise LookupError(f"{module} has no {name}")


@cache
def _tree(module: str) -> ast.Module:
    top, *inner = module.split(".")
    spec = find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"no package {top}")
    path = Path(spec.submodule_search_locations[0]).joinpath(*inner)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        raise LookupError(f"no module {module}")
    return ast.parse(file.read_text(encoding="utf-8"))

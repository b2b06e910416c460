"""Rules of the house that no linter has: lines that are too clever, words of a dialect, and what CONTRIBUTING lists."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import ROOT

CODE = ("int_lightning", "kernels", "benchmarks")
DIALECT = re.compile(r"\bis no (?!longer\b)|\bmend|\bfor it |\bof now\b|\bbesides\b", re.IGNORECASE)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
STATEMENTS = (ast.Assign, ast.AnnAssign, ast.Return, ast.Expr)


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def nested_comprehensions(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS) and len(node.generators) > 1:
            yield node.lineno


def ternaries_in_comprehensions(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS) and any(isinstance(part, ast.IfExp) for part in ast.walk(node)):
            yield node.lineno


def next_inside_expressions(tree: ast.Module) -> Iterator[int]:
    for parent in ast.walk(tree):
        for node in ast.iter_child_nodes(parent):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "next"
            if called and not isinstance(parent, STATEMENTS):
                yield node.lineno


def dialect(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and DIALECT.search(node.value):
            yield node.lineno


@pytest.mark.parametrize("rule", [nested_comprehensions, ternaries_in_comprehensions, next_inside_expressions, dialect])
def test_no_line_breaks_the_rule(rule: Callable[[ast.Module], Iterator[int]]) -> None:
    found = []
    for path in sources(*CODE):
        found += [f"{path.relative_to(ROOT)}:{line}" for line in rule(ast.parse(path.read_text("utf-8")))]
    assert found == []


def test_the_rules_find_what_they_forbid() -> None:
    tree = ast.parse(
        "a = [x for y in z for x in y]\nb = [1 if x else 2 for x in z]\nc = f(next(z))\n'a rank is no process'"
    )
    rules = (nested_comprehensions, ternaries_in_comprehensions, next_inside_expressions, dialect)
    assert [list(rule(tree)) for rule in rules] == [[1], [2], [3], [4]]


def test_contributing_lists_every_package_and_every_module_beside_them() -> None:
    layout = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("```")[1]
    package = ROOT / "int_lightning"
    parts = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    parts += [path.name for path in package.glob("[!_]*.py")]
    assert [part for part in sorted(parts) if part not in layout] == []


def test_no_two_folders_have_a_file_of_one_name_and_another_meaning() -> None:
    """Names that say the same of every package may repeat: the command, the DataModule, the protocol ..."""
    shared = {"__init__.py", "base.py", "command.py", "data.py", "module.py", "server.py"}
    names = [path.name for path in sources("int_lightning") if path.name not in shared]
    assert sorted({name for name in names if names.count(name) > 1}) == []

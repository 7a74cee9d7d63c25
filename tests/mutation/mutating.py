"""Finds a piece of code by its syntax tree, and replaces it.

Code is compared as syntax trees, so that line breaks, quotes, comments and positions do not
matter.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Mutation:
    """One deletion, the guarantee that it breaks, and the tests of which one must fail.

    `where` is a file and, behind a colon, the class, function or constant in which it is to be:
    `camd/a.py:Class.method`. `old` is an expression or some statements that stand there once; `new`
    takes their place, by default nothing.
    """

    name: str
    guarantee: str
    where: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def file(self) -> str:
        """The file that it changes."""
        return self.where.partition(":")[0]

    @property
    def scope(self) -> str:
        """The class or function within the file; empty for the whole file."""
        return self.where.partition(":")[2]


@attrs.frozen
class Place:
    """Where a piece of code stands: lines from 1, columns in bytes from 0, the end excluded."""

    start: tuple[int, int]
    end: tuple[int, int]
    statement: bool

    def holds(self, node: ast.expr) -> bool:
        """Whether a node lies within."""
        return self.start <= (node.lineno, node.col_offset) and _end(node) <= self.end


class NotThereOnceError(Exception):
    """The code that a mutation means is not there, or is there several times."""


@functools.cache
def place_of(mutation: Mutation, source: str) -> Place:
    """Find the one place that a mutation means. Raises NotThereOnceError."""
    scope = _scope(_parsed(source), mutation)
    pattern = ast.parse(textwrap.dedent(mutation.old)).body
    if len(pattern) == 1 and isinstance(only := pattern[0], ast.Expr):
        wanted = ast.dump(only.value)
        same = (n for n in ast.walk(scope) if isinstance(n, ast.expr) and ast.dump(n) == wanted)
        found = [Place(_start(node), _end(node), False) for node in same]
    else:
        found = list(_sequences(scope, [ast.dump(statement) for statement in pattern]))
    if len(found) != 1:
        raise NotThereOnceError(f"{mutation.where} has {len(found)} times: {mutation.old!r}")
    return found[0]


def mutated(mutation: Mutation, source: str) -> str:
    """Return the source with the mutation in it. Raises NotThereOnceError."""
    place = place_of(mutation, source)
    (first, begin), (last, end) = place.start, place.end
    lines = source.encode().splitlines(keepends=True)
    new = textwrap.dedent(mutation.new).strip()
    if place.statement:
        new = textwrap.indent(new or "pass", " " * begin).lstrip()
    else:
        new = f"({new or 'None'})"
    before, after = lines[first - 1][:begin], lines[last - 1][end:]
    text = b"".join([*lines[: first - 1], before, new.encode(), after, *lines[last:]]).decode()
    ast.parse(text)
    return text


def calls(source: str, *names: str) -> list[ast.Call]:
    """Find the calls of functions or methods by their last names, in the order of the file."""
    found = [node for node in ast.walk(_parsed(source)) if isinstance(node, ast.Call)]
    named = [node for node in found if _name(node.func) in names]
    return sorted(named, key=_start)


def functions_in(file: Path) -> set[str]:
    """Name the functions of a file."""
    return set(_functions(file.read_text(encoding="utf-8")))


@functools.cache
def _functions(source: str) -> frozenset[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(n.name for n in ast.walk(_parsed(source)) if isinstance(n, functions))


@functools.cache
def _parsed(source: str) -> ast.Module:
    """Parse a file once; nobody changes its tree."""
    return ast.parse(source)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _scope(tree: ast.AST, mutation: Mutation) -> ast.AST:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name in filter(None, mutation.scope.split(".")):
        inner = ast.iter_child_nodes(tree)
        named = [n for n in inner if (isinstance(n, kinds) and n.name == name) or _sets(n, name)]
        if len(named) != 1:
            raise NotThereOnceError(f"{mutation.where} is there {len(named)} times")
        tree = named[0]
    return tree


def _sets(node: ast.AST, name: str) -> bool:
    """Whether this is `name = …`."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _sequences(scope: ast.AST, wanted: list[str]) -> Iterator[Place]:
    for node in ast.walk(scope):
        for _, field in ast.iter_fields(node):
            if not isinstance(field, list) or not all(isinstance(n, ast.stmt) for n in field):
                continue
            dumps = [ast.dump(statement) for statement in field]
            for at in range(len(dumps) - len(wanted) + 1):
                if dumps[at : at + len(wanted)] == wanted:
                    last = field[at + len(wanted) - 1]
                    yield Place(_start(field[at]), _end(last), True)


def _start(node: ast.expr | ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr | ast.stmt) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset

"""What settings.py says of its tables and keys, read from its source: the one place that explains them."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from dataclasses import fields, is_dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, get_type_hints

_WIDTH = 110


@lru_cache
def texts_of(kind: Any, before: str = "") -> dict[str, tuple[str, ...]]:
    """Lines of text by path: a table's is its class's docstring, a key's is the string below it."""
    found: dict[str, tuple[str, ...]] = {}
    hints, below = get_type_hints(kind), _strings_below(kind.__module__)[kind.__name__]
    for field in fields(kind):
        path = before + field.name
        hint: Any = hints[field.name]
        if is_dataclass(hint):
            found[path] = _wrapped(hint.__doc__ or "")
            table: Any = hint
            found |= texts_of(table, f"{path}.")
        elif field.name in below:
            found[path] = _wrapped(below[field.name])
    return found


@lru_cache
def _strings_below(module: str) -> dict[str, dict[str, str]]:
    """By class and field. The tree is not kept: a server has no memory to spare for it."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: _in_body(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}


def _in_body(body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node, following in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_string(following):
            found[node.target.id] = following.value.value  # type: ignore[attr-defined]
    return found


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _wrapped(text: str) -> tuple[str, ...]:
    return tuple(textwrap.wrap(" ".join(text.split()), _WIDTH))

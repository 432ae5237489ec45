"""A word or two for what an expression is, and the words that a constant lists."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from catalogue.source import called


def name_of(node: ast.AST | None) -> str:
    """A word or two for what an expression is."""
    if isinstance(node, ast.Name):
        return plain(node.id)
    if isinstance(node, ast.Attribute):
        if node.attr == "__name__":
            return name_of(node.value)
        if node.attr in ("name", "args", "value"):
            return plain(node.attr) if name_of(node.value) == "self" else name_of(node.value)
        if node.attr in ("path", "dtype", "shape", "size"):
            held = name_of(node.value).removesuffix(" path")
            return plain(node.attr) if held in ("self", "value") else f"{held} {plain(node.attr)}"
        return plain(node.attr)
    if isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        return plain(key) if isinstance(key, str) else name_of(node.value)
    if isinstance(node, ast.BinOp):
        return name_of(node.left)
    if isinstance(node, ast.Starred | ast.FormattedValue | ast.Await):
        return name_of(node.value)
    if isinstance(node, ast.BoolOp):
        return name_of(node.values[0])
    if isinstance(node, ast.IfExp):
        return name_of(node.body)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return name_of(node.generators[0].iter)
    if isinstance(node, ast.Call):
        name = called(node)
        if name == "type" and node.args:
            return f"class of {name_of(node.args[0])}"
        if name == "len" and node.args:
            return f"number of {name_of(node.args[0])}"
        if name in (
            "join",
            "shown",
            "map",
            "sorted",
            "list",
            "dict",
            "filter",
            "tuple",
            "str",
            "int",
            "min",
            "max",
            "abs",
            "ceil",
            "asdict",
        ):
            return name_of(node.args[-1]) if node.args else name
        if isinstance(node.func, ast.Attribute) and name in (
            "removeprefix",
            "tolist",
            "item",
            "get",
            "strip",
            "rpartition",
            "partition",
        ):
            return name_of(node.func.value)
        return name_of(node.args[0]) if node.args and isinstance(node.func, ast.Name) else plain(name)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    text = ast.unparse(node) if node is not None else "value"
    return text if len(text) < 24 else "value"


def plain(name: str) -> str:
    return name.strip("_").replace("_", " ").lower() or "value"


def choices(node: ast.AST) -> list[str] | None:
    """The words of a constant tuple, dict or ``Literal``; None where it is something else."""
    items: Sequence[ast.AST | None] = ()
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        items = node.elts
    elif isinstance(node, ast.Dict):
        items = node.keys
    found = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return found if found and len(found) == len(items) else None

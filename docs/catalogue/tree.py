"""The code as trees: modules, the functions in them, and what their names are set to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent / "src"


@dataclass(eq=False)
class Function:
    """A function, a method, or (without a node of its own) what stands at the top of a module."""

    module: Module
    name: str
    node: ast.AST
    cls: str | None = None
    parent: Function | None = None

    @property
    def qualname(self) -> str:
        """The name with those of the class or function around it."""
        around = self.cls or (self.parent.qualname if self.parent is not None and self.parent.name else "")
        return f"{around}.{self.name}" if around else self.name

    @cached_property
    def arguments(self) -> list[ast.arg]:
        """All parameters in order, without ``self``."""
        if not isinstance(self.node, ast.FunctionDef):
            return []
        given = self.node.args
        found = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        bound = self.cls is not None and not any(_is(d, "staticmethod") for d in self.node.decorator_list)
        return found[1:] if bound else found

    @cached_property
    def defaults(self) -> dict[str, ast.expr]:
        """What parameters are where they are left out."""
        if not isinstance(self.node, ast.FunctionDef):
            return {}
        given = self.node.args
        named = [a.arg for a in [*given.posonlyargs, *given.args]]
        pairs = [*zip(named[::-1], given.defaults[::-1], strict=False)]
        pairs += [(a.arg, d) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None]
        return dict(pairs)

    @cached_property
    def own(self) -> list[ast.AST]:
        """All nodes inside, without those of functions and classes that are defined in it."""
        return [*_inside(self.node)]

    @cached_property
    def assigned(self) -> dict[str, list[ast.expr | None]]:
        """What local names are set to; None for what comes out of a loop, a tuple, a ``with``."""
        found: dict[str, list[ast.expr | None]] = {}
        for node in self.own:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    _take(found, target, node.value)
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                _take(found, node.target, node.value)
            elif isinstance(node, ast.AugAssign):
                _take(found, node.target, ast.BinOp(ast.Constant(""), ast.Add(), node.value))
            elif isinstance(node, ast.For | ast.comprehension):
                _take(found, node.target, None)
                first = node.target.elts[0] if isinstance(node.target, ast.Tuple) else None
                if isinstance(first, ast.Name) and isinstance(node.iter, ast.Tuple | ast.List):  # the names in a table
                    rows = [row.elts[0] for row in node.iter.elts if isinstance(row, ast.Tuple)]
                    found[first.id] = [*rows] or [None]
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                _take(found, node.optional_vars, None)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                found.setdefault(node.name, []).append(None)
        return found


@dataclass(eq=False)
class Module:
    """One file."""

    name: str
    path: str
    tree: ast.Module
    package: bool
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)


def read(root: Path) -> Iterator[Module]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = Module(name, path.relative_to(root.parent).as_posix(), tree, package)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    module.imports[alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    module.imports[alias.asname or alias.name.split(".")[0]] = (alias.name, "")
        for node in tree.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        module.constants[target.id] = node.value
                    elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                        for one, value in zip(target.elts, node.value.elts, strict=False):
                            module.constants |= {one.id: value} if isinstance(one, ast.Name) else {}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                module.constants[node.target.id] = node.value
            elif isinstance(node, ast.ClassDef):
                module.classes[node.name] = node
        top = Function(module, "", tree)
        module.functions = [top, *_functions(module, tree, top, None)]
        yield module


def _functions(module: Module, node: ast.AST, parent: Function, cls: str | None) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            made = Function(module, child.name, child, cls, parent)
            yield made
            yield from _functions(module, child, made, None)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(module, child, parent, child.name)
        else:
            yield from _functions(module, child, parent, cls)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            for part in (*child.decorator_list, *child.args.defaults, *filter(None, child.args.kw_defaults)):
                yield part
                yield from _inside(part)
            continue
        yield child
        yield from _inside(child)


def _take(found: dict[str, list[ast.expr | None]], target: ast.expr, value: ast.expr | None) -> None:
    if isinstance(target, ast.Name):
        found.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple | ast.List):
        pairs = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else None
        for place, part in enumerate(target.elts):
            _take(found, part, pairs[place] if pairs else None)
    elif isinstance(target, ast.Starred):
        _take(found, target.value, None)


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

"""A package of trees: what a name stands for, what an object is, and who calls whom."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from catalogue.tree import ROOT, Function, Module, read


@dataclass(frozen=True)
class Found:
    """What a name stands for: a function, a class, or the value of a constant, and the module that has it."""

    module: Module
    node: ast.AST
    function: Function | None = None


@dataclass(frozen=True)
class Call:
    """A call, and the function that it stands in."""

    node: ast.Call
    inside: Function


class Package:
    """All modules of some packages, such as ``lzero`` and ``lzero_lab``."""

    def __init__(self, *names: str, root: Path = ROOT) -> None:
        self.modules = {module.name: module for name in names for module in read(root / name)}
        self.functions = [function for module in self.modules.values() for function in module.functions]
        self.calls: dict[str, list[Call]] = {}
        for function in self.functions:
            for node in function.own:
                if isinstance(node, ast.Call):
                    self.calls.setdefault(called(node), []).append(Call(node, function))
        self._asked = set[tuple[Function, str]]()
        self.attributes = self._attributes()

    def find(self, module: Module, name: str) -> Found | None:
        """What ``name`` stands for in ``module``, however often it was passed on."""
        for function in module.functions:
            if "." in name and function.qualname == name:
                return Found(module, function.node, function)
            top = function.cls is None and function.parent is not None and not function.parent.name
            if function.name == name and top:
                return Found(module, function.node, function)
        if name in module.classes:
            return Found(module, module.classes[name])
        if name in module.constants:
            return Found(module, module.constants[name])
        place, leaf = module.imports.get(name, ("", ""))
        return self.find(self.modules[place], leaf) if place in self.modules else None

    def target(self, call: ast.Call, inside: Function) -> Found | None:
        """What a call runs, where that can be told: by its name, ``self.``, or the class of what it is a method of."""
        if isinstance(call.func, ast.Name):
            near = [f for f in inside.module.functions if f.name == call.func.id and f.parent is inside]
            return Found(inside.module, near[0].node, near[0]) if near else self.find(inside.module, call.func.id)
        if not isinstance(call.func, ast.Attribute):
            return None
        held = call.func.value
        if isinstance(held, ast.Name) and held.id in inside.module.imports and not self._variable(held.id, inside):
            place = ".".join(filter(None, inside.module.imports[held.id]))
            return self.find(self.modules[place], call.func.attr) if place in self.modules else None
        kinds = self.kinds(held, inside)
        fitting = [f for f in self.functions if f.name == call.func.attr and f.cls is not None]
        fitting = [f for f in fitting if kinds is None or f.cls in kinds]
        return Found(fitting[0].module, fitting[0].node, fitting[0]) if len(fitting) == 1 else None

    def calls_of(self, function: Function) -> list[Call]:
        """The calls that run ``function``, or may: of a method where the class of its object is not known."""
        found = []
        name = function.cls or "" if function.name == "__init__" else function.name
        for call in self.calls.get(name, []):
            if isinstance(call.node.func, ast.Attribute) and function.cls is not None and name == function.name:
                held = call.node.func.value
                if isinstance(held, ast.Name) and held.id in call.inside.module.imports:
                    continue
                kinds = self.kinds(held, call.inside)
                if kinds is None or kinds & self.family(function.cls):
                    found.append(call)
                continue
            target = self.target(call.node, call.inside)
            if target is not None and (target.function is function or name != function.name):
                found.append(call)
        return found

    def kinds(self, held: ast.expr, inside: Function) -> set[str] | None:
        """The classes that an expression may be of; None where that cannot be told."""
        if isinstance(held, ast.Name) and held.id in ("self", "cls") and inside.cls is not None:
            return self.family(inside.cls)
        if isinstance(held, ast.Name):
            at: Function | None = inside
            while at is not None:
                for argument in at.arguments:
                    if argument.arg == held.id:
                        return _classes_in(argument.annotation)
                values = at.assigned.get(held.id)
                if values is not None:
                    if (at, held.id) in self._asked:  # x = x.f()
                        return None
                    self._asked.add((at, held.id))
                    made = [self._made(value, at) for value in values]
                    self._asked.remove((at, held.id))
                    return None if None in made else {kind for kinds in made for kind in kinds or ()}
                at = at.parent
            return None
        if isinstance(held, ast.Attribute):
            return self.attributes.get(held.attr)
        if isinstance(held, ast.Call):
            return self._made(held, inside)
        return {type(held.value).__name__} if isinstance(held, ast.Constant) else None

    def is_error(self, name: str, module: Module) -> bool:
        """Whether ``name`` is a class of exceptions: a built-in one, one of the package, or imported and named so."""
        found = self.find(module, name)
        if found is not None and isinstance(found.node, ast.ClassDef):
            bases = [base.id for base in found.node.bases if isinstance(base, ast.Name)]
            return any(self.is_error(base, found.module) for base in bases)
        built_in = getattr(builtins, name, None)
        if isinstance(built_in, type):
            return issubclass(built_in, BaseException)
        return name in module.imports and name.endswith(("Error", "Exception"))

    def _made(self, value: ast.expr | None, inside: Function) -> set[str] | None:
        """The classes of what a call gives; None where that cannot be told."""
        found = self.target(value, inside) if isinstance(value, ast.Call) else None
        if found is not None and isinstance(found.node, ast.ClassDef):
            return {found.node.name}
        if found is not None and isinstance(found.node, ast.FunctionDef):
            return _classes_in(found.node.returns)
        return None

    def family(self, cls: str) -> set[str]:
        """A class, those it is made of, and those made of it."""
        names = {cls}
        for _ in range(3):
            for module in self.modules.values():
                for name, node in module.classes.items():
                    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                    names |= {name} if bases & names else set()
                    names |= bases & self._all if name == cls else set()
        return names

    def with_word(self, field: str) -> set[str]:
        """The class that has ``field`` as a word, where it is the only one."""
        found = {
            name
            for module in self.modules.values()
            for name, node in module.classes.items()
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.target.id == field
            if ast.unparse(part.annotation) == "str"
        }
        return found if len(found) == 1 else set()

    def fields(self, cls: str) -> list[str]:
        """The fields of a dataclass, in order, those of its bases in front."""
        for module in self.modules.values():
            if cls in module.classes:
                node = module.classes[cls]
                above = [name for base in node.bases if isinstance(base, ast.Name) for name in self.fields(base.id)]
                own = [
                    n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
                ]
                return [*above, *own]
        return []

    @cached_property
    def _all(self) -> set[str]:
        return {name for module in self.modules.values() for name in module.classes}

    @staticmethod
    def _variable(name: str, inside: Function) -> bool:
        at: Function | None = inside
        while at is not None and at.name:
            if name in at.assigned or any(a.arg == name for a in at.arguments):
                return True
            at = at.parent
        return False

    def _attributes(self) -> dict[str, set[str]]:
        """By the name of an attribute, the classes of the package that annotations and constructors give it."""
        found: dict[str, set[str]] = {}
        for function in self.functions:
            for node in function.own:
                if isinstance(node, ast.AnnAssign):
                    target = node.target
                    name = target.attr if isinstance(target, ast.Attribute) else ""
                    _join(found, name, (_classes_in(node.annotation) or set()) & self._all)
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    known = self.find(function.module, called(node.value))
                    kind = {known.node.name} if known and isinstance(known.node, ast.ClassDef) else set()
                    for target in node.targets:
                        _join(found, target.attr if isinstance(target, ast.Attribute) else "", kind)
        for module in self.modules.values():
            for cls in module.classes.values():
                for node in cls.body:
                    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        _join(found, node.target.id, (_classes_in(node.annotation) or set()) & self._all)
        return {name: kinds for name, kinds in found.items() if kinds}


def called(call: ast.Call) -> str:
    """The last word of what is called."""
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _classes_in(annotation: ast.expr | None) -> set[str] | None:
    if annotation is None:
        return None
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(annotation) if isinstance(node, ast.Attribute)}
    return None if not names or names & {"Any", "object"} else names


def _join(found: dict[str, set[str]], name: str, kinds: set[str]) -> None:
    if name:
        found.setdefault(name, set()).update(kinds)

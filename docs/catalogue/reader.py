"""Reads expressions as messages."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence

from catalogue.names import choices, name_of, plain
from catalogue.source import Found, Package, called
from catalogue.text import MOST, Field, Text, either, passed, product, replaced, says, shown, words
from catalogue.tree import Function

_DEPTH = 6
_PASSING = {"join", "map", "tuple", "sorted", "filter", "get_args", "list"}


class Reader:
    """Reads expressions of a package as messages."""

    def __init__(self, package: Package, followed: Mapping[tuple[str, str], Sequence[tuple[str, str]]]) -> None:
        self._package, self._followed = package, followed
        self.used: set[tuple[str, str]] = set()

    def read(self, node: ast.expr | None, inside: Function, depth: int = 0) -> list[Text]:
        """What ``node`` may say, each a text; a field where nothing can be told."""
        if node is None or depth > _DEPTH:
            return [(Field("value"),)]
        if isinstance(node, ast.Constant):
            return [(node.value if isinstance(node.value, str) else str(node.value),)]
        if isinstance(node, ast.JoinedStr):
            return product([self._part(value, inside, depth) for value in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [self.read(node.left, inside, depth), self.read(node.right, inside, depth)]
            if not any(says(part) for text in itertools.chain(*sides) for part in text):  # a sum of numbers
                return [(Field(name_of(node)),)]
            return product(sides)
        if isinstance(node, ast.IfExp):
            return either(self.read(node.body, inside, depth), self.read(node.orelse, inside, depth))
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return self._or(node, inside, depth)
        if isinstance(node, ast.Name):
            return self._name(node, inside, depth)
        if isinstance(node, ast.Subscript):
            return self._item(node, inside, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, inside, depth)
        if isinstance(node, ast.Call):
            return self._call(node, inside, depth)
        if (listed := choices(node)) is not None:
            return [(", ".join(map(repr, listed)),)]
        return [(Field(name_of(node)),)]

    def given(self, call: ast.Call, inside: Function, to: Function) -> Iterator[dict[str, list[Text]]]:
        """What a call gives for each parameter of a function, in words; several where it is one tuple or another."""
        for arguments in itertools.product(*(self._starred(a, inside) for a in call.args)):
            positional = [part for some in arguments for part in some]
            names = [argument.arg for argument in to.arguments]
            made = {name: self.read(value, inside) for name, value in zip(names, positional, strict=False)}
            made |= {key.arg: self.read(key.value, inside) for key in call.keywords if key.arg}
            made |= {name: self.read(v, inside) for name, v in spread(call, inside, self._package).items()}
            for name, value in to.defaults.items():
                if name not in made:
                    made[name] = self.read(value, to)
            yield made

    def _starred(self, node: ast.expr, inside: Function) -> list[list[ast.expr]]:
        if not isinstance(node, ast.Starred):
            return [[node]]
        sides = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
        found = []
        for side in sides:
            known = self._package.find(inside.module, side.id) if isinstance(side, ast.Name) else None
            found.append(known.node.elts if known is not None and isinstance(known.node, ast.Tuple) else [side])
        return found

    def _part(self, value: ast.expr, inside: Function, depth: int) -> list[Text]:
        if not isinstance(value, ast.FormattedValue):
            return self.read(value, inside, depth)
        texts = self.read(value.value, inside, depth)
        short = all(words(text) < 4 and not any(map(passed, text)) for text in texts)
        if len(texts) > 1 and short:
            texts = [(Field(name_of(value.value)),)]
        return [("'", *text, "'") for text in texts] if value.conversion == ord("r") else texts

    def _or(self, node: ast.BoolOp, inside: Function, depth: int) -> list[Text]:
        sides = [self.read(value, inside, depth) for value in node.values]
        if all(words(text) < 2 for side in sides for text in side):
            literal = all(isinstance(part, str) for text in sides[-1] for part in text)
            return [(Field(f"{shown(sides[0][0]).strip('‹›')} or {shown(sides[-1][0])}"),)] if literal else sides[0]
        return [text for side in sides for text in side]

    def _name(self, node: ast.Name, inside: Function, depth: int) -> list[Text]:
        at: Function | None = inside
        while at is not None:
            for argument in at.arguments:
                if argument.arg == node.id:
                    return [(Field(plain(node.id), (at, node.id)),)]
            values = at.assigned.get(node.id)
            if sources := self._followed.get((inside.module.path, node.id)):
                self.used.add((inside.module.path, node.id))
                found = [self._package.find(self._package.modules[place], name) for place, name in sources]
                return [t for one in found if one and one.function for t in self.returned(one.function, depth + 1)]
            if values is not None and (at.name or node.id not in at.module.constants):
                return self._local(node.id, values, at, depth)
            at = at.parent
        found = self._package.find(inside.module, node.id)
        return self._constant(found, node.id, depth)

    def _local(self, name: str, values: Sequence[ast.expr | None], at: Function, depth: int) -> list[Text]:
        read = [text for value in values if value is not None for text in self.read(value, at, depth + 1)]
        if len(read) == len(values) == 1 and (len(read[0]) == 1 and isinstance(read[0][0], Field) and read[0][0].of):
            return read
        told = [text for text in read if any(isinstance(part, str) and part.strip() for part in text)]
        if not any(letter.isalpha() for text in told for part in text if isinstance(part, str) for letter in part):
            return [(Field(plain(name)),)]
        added = [
            v for v in values if isinstance(v, ast.BinOp) and isinstance(v.left, ast.Constant) and v.left.value == ""
        ]
        if added and len(added) < len(values):  # begun with =, gone on with +=
            begun = [text for v in values if v not in added for text in self.read(v, at, depth + 1)]
            ends = [text for v in added for text in self.read(v, at, depth + 1)]
            return product([begun, [("[", *ends[0], "]")]]) if len(ends) == 1 else begun
        return told[:MOST]

    def _constant(self, found: Found | None, name: str, depth: int) -> list[Text]:
        if found is None or found.function is not None or isinstance(found.node, ast.ClassDef):
            return [(Field(plain(name)),)]
        top = found.module.functions[0]
        if isinstance(found.node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Name | ast.IfExp):
            read = self.read(found.node, top, depth + 1)
            return read if any(isinstance(part, str) for text in read for part in text) else [(Field(plain(name)),)]
        if (listed := choices(found.node)) is not None:
            return [(", ".join(map(repr, listed)),)]
        return [(Field(plain(name)),)]

    def _item(self, node: ast.Subscript, inside: Function, depth: int) -> list[Text]:
        """An entry of a constant tuple or dict in words."""
        found = self._package.find(inside.module, node.value.id) if isinstance(node.value, ast.Name) else None
        if found is not None and isinstance(found.node, ast.Tuple) and isinstance(node.slice, ast.Constant):
            return self.read(found.node.elts[node.slice.value], found.module.functions[0], depth + 1)
        if found is not None and isinstance(found.node, ast.Dict):
            read = [t for v in found.node.values for t in self.read(v, found.module.functions[0], depth + 1)]
            if any(words(text) > 1 for text in read):
                return read
        return [(Field(name_of(node)),)]

    def _attribute(self, node: ast.Attribute, inside: Function, depth: int) -> list[Text]:
        """A field of a dataclass that is made with words; the text of a constant reason."""
        if isinstance(node.value, ast.Name) and node.attr in ("text", "advice"):
            found = self._package.find(inside.module, node.value.id)
            if found is not None and isinstance(found.node, ast.Call):
                place = 0 if node.attr == "text" else 1
                return self.read(found.node.args[place], found.module.functions[0], depth + 1)
        kinds = (self._package.kinds(node.value, inside) or self._package.with_word(node.attr)) - {"Reason", "Refusal"}
        if isinstance(node.value, ast.Name) and node.value.id == "self" and inside.cls is not None:
            return [(Field(name_of(node), None, (inside.cls, node.attr)),)]
        read = [text for kind in sorted(kinds) for text in self._made_with(kind, node.attr, depth)]
        if any(words(text) > 1 for text in read):
            return [text for text in read if words(text) > 1]
        passed = [text for text in read if len(text) == 1 and isinstance(text[0], Field) and text[0].of]
        return passed or [(Field(name_of(node)),)]

    def _made_with(self, kind: str, attribute: str, depth: int) -> Iterator[Text]:
        for module in self._package.modules.values():
            cls = module.classes.get(kind)
            names = [n.target.id for n in cls.body if isinstance(n, ast.AnnAssign)] if cls is not None else []
            if attribute not in names:
                continue
            for call in self._package.calls.get(kind, []):
                place = names.index(attribute)
                value = call.node.args[place] if len(call.node.args) > place else None
                value = next((key.value for key in call.node.keywords if key.arg == attribute), value)
                if value is not None and not isinstance(value, ast.Starred):
                    yield from self.read(value, call.inside, depth + 2)

    def _call(self, node: ast.Call, inside: Function, depth: int) -> list[Text]:
        if called(node) in _PASSING and node.args:
            inner = self.read(node.args[-1], inside, depth + 1)
            if len(inner) == 1 and any(passed(part) or isinstance(part, str) for part in inner[0]):
                return inner
        if called(node) == "join" and isinstance(node.func, ast.Attribute) and node.args:
            read = self.listed(node.args[0], inside, depth + 1)
            if any(words(text) > 1 for text in read):
                return [text for text in read if words(text) > 1]
        if called(node) == "get" and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            table = self._package.find(inside.module, node.func.value.id)
            if table is not None and isinstance(table.node, ast.Dict):
                told = [*table.node.values, *node.args[1:]]
                return [text for value in told for text in self.read(value, inside, depth + 1)]
        target = self._package.target(node, inside)
        function = target.function if target is not None else None
        if function is not None and called(node) != "shown" and depth < _DEPTH:
            read = [
                t for text in self.returned(function, depth + 1) for t in self._filled(text, node, inside, function)
            ]
            if any(words(text) > 1 for text in read):
                return read[:MOST]
        return [(Field(name_of(node)),)]

    def _filled(self, text: Text, call: ast.Call, inside: Function, function: Function) -> list[Text]:
        return [made for given in self.given(call, inside, function) for made in replaced(text, function, given)]

    def returned(self, function: Function, depth: int = 0) -> list[Text]:
        """What a function returns, in words."""
        found = []
        for node in function.own:
            if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and node.value is not None:
                read = self.listed(node.value, function, depth + 1)
                found += [text for text in read if any(isinstance(part, str) for part in text) and text != ("None",)]
        return found

    def listed(self, node: ast.expr, inside: Function, depth: int = 0) -> list[Text]:
        """The messages in a list: those that it is written with, and those appended to it."""
        if isinstance(node, ast.List | ast.Tuple):
            return [text for item in node.elts for text in self.listed(item, inside, depth)]
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self.listed(value, inside, depth)]
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self.read(node.elt, inside, depth)
        if isinstance(node, ast.Name) and node.id in inside.assigned:
            lists = [v for v in inside.assigned[node.id] if isinstance(v, ast.List | ast.ListComp)]
            added = [
                call.args[0]
                for call in inside.own
                if isinstance(call, ast.Call) and called(call) == "append" and call.args
                if isinstance(call.func, ast.Attribute) and name_of(call.func.value) == plain(node.id)
            ]
            if lists:
                parts = [text for one in lists for text in self.listed(one, inside, depth)]
                return [*parts, *(text for one in added for text in self.read(one, inside, depth))]
        return self.read(node, inside, depth)


def spread(call: ast.Call, inside: Function, package: Package) -> dict[str, ast.expr]:
    """The arguments that a call takes out of a dict that its function writes down (``**said``)."""
    held = [key.value.id for key in call.keywords if key.arg is None and isinstance(key.value, ast.Name)]
    found: dict[str, ast.expr] = {}
    for name in held:
        values = [*inside.assigned.get(name, [])]
        for other in package.calls_of(inside) if any(a.arg == name for a in inside.arguments) else ():
            names = [a.arg for a in inside.arguments]
            given = dict(zip(names, other.node.args, strict=False)).get(name)
            values += other.inside.assigned.get(given.id, []) if isinstance(given, ast.Name) else []
        for value in values:
            if isinstance(value, ast.Dict):
                pairs = zip(value.keys, value.values, strict=True)
                found |= {key.value: v for key, v in pairs if isinstance(key, ast.Constant)}
    return found

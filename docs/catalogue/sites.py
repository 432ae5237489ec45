"""Where a user meets an error, a warning or a refusal, each followed to the call that fills in its words."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalogue.reader import Reader, spread
from catalogue.source import Call, Package, called
from catalogue.text import Field, Text, replaced, shown, words
from catalogue.tree import Function

_ENOUGH = 2

ANY = "‹a reason›"
"""What stands for the text of a reason that another advice is given to."""


@dataclass(frozen=True)
class Site:
    """One message.

    Attributes:
        kind: the class of the error or warning; ``"Reason"`` of a refusal.
        text: what it says; of a refusal the reason.
        advice: what else a refusal says.
        path: the file.
        inside: the function.
        line: where the message is made.
        made: the file and line of what raises or warns.
    """

    kind: str
    text: str
    advice: str
    path: str
    inside: str
    line: int
    made: tuple[str, int]


@dataclass(frozen=True)
class _Draft:
    kind: Text
    text: Text
    advice: Text
    inside: Function
    line: int
    made: tuple[str, int]


class Sites:
    """All messages of a package.

    Attributes:
        found: the messages.
        unread: what could not be read, in words; empty where nothing is missing.
        places: the file and line of all that raise, warn or refuse.
        used: of what was declared, what is there.
    """

    def __init__(
        self,
        package: Package,
        passed_on: Collection[tuple[str, str]] = (),
        unmet: Collection[tuple[str, str]] = (),
        followed: Mapping[tuple[str, str], Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        self._package, self._reader = package, Reader(package, followed or {})
        self._passed_on, self._unmet = passed_on, unmet
        self.found: list[Site] = []
        self._known: dict[tuple[str, str, str], Site] = {}
        self.unread: list[str] = []
        self.places = set[tuple[str, int]]()
        self.used: set[tuple[str, str]] = set()
        for function in package.functions:
            for node in function.own:
                if isinstance(node, ast.Raise):
                    self._check(node, function)
                elif isinstance(node, ast.Call):
                    for draft in self._drafts(node, function):
                        self._finish(draft, ())
        self.used |= self._reader.used

    def _drafts(self, node: ast.Call, inside: Function) -> Iterator[_Draft]:
        name, here = called(node), (inside.module.path, node.lineno)
        if name == "warn" and isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "warnings.warn":
            kind = ast.unparse(node.args[1]) if len(node.args) > 1 else "UserWarning"
            for text in self._reader.read(node.args[0], inside):
                yield _Draft((kind,), text, (), inside, node.lineno, here)
        elif name in ("Reason", "Refusal"):
            first = 0 if name == "Reason" else 3
            if len(node.args) > first and not self._passes_on(node.args[first], inside):
                after = node.args[first + 1] if len(node.args) > first + 1 else ast.Constant("")
                for text in self._reader.read(node.args[first], inside):
                    for advice in self._reader.read(after, inside):
                        yield _Draft(("Reason",), text, advice, inside, node.lineno, here)
        elif name == "replace" and (key := next((k for k in node.keywords if k.arg == "advice"), None)):
            for advice in self._reader.read(key.value, inside):
                yield _Draft(("Reason",), (Field("a reason"),), advice, inside, node.lineno, here)
        elif kind_of := self._error(node, inside):
            if not node.args:
                return
            texts = self._reader.read(node.args[-1] if name == "ForwardError" else node.args[0], inside)
            for text in texts:
                yield _Draft(kind_of, text, (), inside, node.lineno, here)

    def _error(self, node: ast.Call, inside: Function) -> Text:
        """The class of errors that a call makes one of, empty where it makes none."""
        if isinstance(node.func, ast.Name):
            if self._package.is_error(node.func.id, inside.module):
                return (node.func.id,)
            owner = _owner(node.func.id, inside)
            annotation = next((a.annotation for a in owner.arguments if a.arg == node.func.id), None) if owner else None
            named = [n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)] if annotation is not None else []
            if owner is not None and any(self._package.is_error(name, inside.module) for name in named):
                return (Field("error", (owner, node.func.id)),)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "error":
            kinds = self._package.kinds(node.func.value, inside)
            return (Field("error", None, (sorted(kinds)[0], "error")),) if kinds else ("usage",)
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            module = node.func.value.id in inside.module.imports
            return (node.func.attr,) if module and node.func.attr.endswith(("Error", "Exception")) else ()
        return ()

    def _passes_on(self, node: ast.expr, inside: Function) -> bool:
        """Whether it is the text of a reason that was made elsewhere."""
        if isinstance(node, ast.Attribute) and node.attr in ("text", "reason"):
            return shown(self._reader.read(node, inside)[0]).startswith("‹")
        return inside.qualname == "Refusal.of_group"

    def _check(self, node: ast.Raise, inside: Function) -> None:
        """Note a raise that is neither of an error made here, nor of one that a function makes, nor declared."""
        here = (inside.module.path, inside.qualname)
        if node.exc is None:
            return
        if isinstance(node.exc, ast.Call):
            if self._error(node.exc, inside):
                return
            found = self._package.target(node.exc, inside)
            if found is not None and found.function is not None:
                made = [n for n in found.function.own if isinstance(n, ast.Call) and self._error(n, found.function)]
                if made:
                    return
        if here in self._passed_on:
            self.used.add(here)
        else:
            self.unread.append(f"{inside.module.path}:{node.lineno}: raise {ast.unparse(node.exc)}")

    def _finish(self, draft: _Draft, seen: tuple[Function, ...]) -> None:
        """Follow a message to the calls that give its words, as far as they do, and note it."""
        draft = self._with_held(draft)
        owner = next(
            (p.of[0] for p in (*draft.kind, *draft.text, *draft.advice) if isinstance(p, Field) and p.of), None
        )
        poor = words(draft.text) < _ENOUGH or not all(isinstance(part, str) for part in draft.kind)
        if owner is not None and owner not in seen and len(seen) < 6:
            calls = self._package.calls_of(owner)
            parts = (*draft.text[draft.kind != ("Reason",) :], *draft.advice)  # what an error begins with is a place
            names = {p.of[1] for p in parts if isinstance(p, Field) and p.of and p.of[0] is owner}
            if calls and (poor or any(self._tells(call, owner, names) for call in calls)):
                for call in calls:
                    for made in self._at(draft, call, owner):
                        self._finish(made, (*seen, owner))
                return
        if not shown(draft.text) or (not words(draft.text) and re.fullmatch(r"\[.*\]", shown(draft.text))):
            return  # a freeze that nobody needs to read
        text, kind, advice = _bare(shown(draft.text)), shown(draft.kind), _bare(shown(draft.advice))
        path, inside = draft.inside.module.path, draft.inside.qualname
        if (draft.made[0], kind) in self._unmet:
            self.used.add((draft.made[0], kind))
            return
        fits = ": expected " in text or text.startswith("expected ") or text == ANY
        if (words(draft.text) < _ENOUGH and not fits) or "‹" in kind:
            if (path, inside) not in self._passed_on:
                self.unread.append(f"{path}:{draft.line} ({inside}): {kind}: {text}")
            else:
                self.used.add((path, inside))
            return
        self.places.add(draft.made)
        site = Site(kind, text, advice, path, inside, draft.line, draft.made)
        known = self._known.setdefault((kind, text, advice), site)
        if known is site:
            self.found.append(site)

    def _tells(self, call: Call, owner: Function, names: set[str]) -> bool:
        given = [*self._reader.given(call.node, call.inside, owner)]
        return any(words(text) > 1 for one in given for name in names for text in one.get(name, []))

    def _with_held(self, draft: _Draft) -> _Draft:
        """The message with what its module gives an object when it makes it, such as a reader of its files."""
        by: dict[tuple[str, str], Text] = {}
        for part in (*draft.kind, *draft.text):
            if isinstance(part, Field) and part.held is not None:
                family = self._package.family(part.held[0])
                for call in (call for kind in family for call in self._package.calls.get(kind, [])):
                    if call.inside.module is draft.inside.module:
                        by[part.held] = self._argument(call, part.held) or (part,)
        if not by:
            return draft
        kind, text = (
            tuple(p for part in one for p in (by.get(part.held, (part,)) if isinstance(part, Field) else (part,)))  # type: ignore[arg-type]
            for one in (draft.kind, draft.text)
        )
        return _Draft(kind, text, draft.advice, draft.inside, draft.line, draft.made)

    def _argument(self, call: Call, held: tuple[str, str]) -> Text:
        names = self._package.fields(held[0])
        place = names.index(held[1]) if held[1] in names else -1
        if place < 0 or len(call.node.args) <= place:
            return ()
        value = call.node.args[place]
        if isinstance(value, ast.Name) and self._package.is_error(value.id, call.inside.module):
            return (value.id,)
        return self._reader.read(value, call.inside)[0]

    def _at(self, draft: _Draft, call: Call, owner: Function) -> Iterator[_Draft]:
        """The message with what a call gives."""
        for given in self._reader.given(call.node, call.inside, owner):
            kinds = self._kinds(draft.kind, call, owner)
            for text in replaced(draft.text, owner, given):
                for advice in replaced(draft.advice, owner, given):
                    for kind in kinds:
                        yield _Draft(kind, text, advice, call.inside, call.node.lineno, draft.made)

    def _kinds(self, kind: Text, call: Call, owner: Function) -> list[Text]:
        (part,) = kind
        if not isinstance(part, Field) or part.of is None or part.of[0] is not owner:
            return [kind]
        names = [a.arg for a in owner.arguments]
        value: ast.expr | None = dict(zip(names, call.node.args, strict=False)).get(part.of[1])
        value = next((key.value for key in call.node.keywords if key.arg == part.of[1]), value)
        value = spread(call.node, call.inside, self._package).get(part.of[1]) if value is None else value
        if isinstance(value, ast.Name):
            outer = _owner(value.id, call.inside)
            return [(Field("error", (outer, value.id)),)] if outer is not None else [(value.id,)]
        return [(Field(ast.unparse(value) if value is not None else "error"),)]


def _bare(text: str) -> str:
    """A text without the brackets around all of it."""
    inner = text[1:-1]
    return inner if text.startswith("[") and text.endswith("]") and inner.count("[") == inner.count("]") else text


def _owner(name: str, inside: Function) -> Function | None:
    """The function around that has a parameter of that name."""
    at: Function | None = inside
    while at is not None:
        if any(argument.arg == name for argument in at.arguments):
            return at
        at = at.parent
    return None

"""The public names, as they stand in the source: so also those of frameworks that are not installed."""

import ast
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import lzero

SOURCE = Path(lzero.__file__).parent
ROOMS = ("", "gates", "cost", "baselines", "latency", "solver", "plots")
RESULTS = {  # what public names return: they are documented where they are defined
    "lzero.certificate.Certificate": "certificate.py",
    "lzero.latency.again.Latency": "latency/again.py",
    "lzero.table.Table": "table.py",
    "lzero.plan.group.GateGroup": "plan/group.py",
    "lzero.plan.refusal.Refusal": "plan/refusal.py",
    "lzero.plan.remainder.Check": "plan/remainder.py",
    "lzero.decay.expected_l2": "decay.py",
    "lzero.integrations.request.Request": "integrations/request.py",
    "lzero.integrations.lightning.Budget": "integrations/lightning/budget.py",
    "lzero.integrations.transformers.Budget": "integrations/transformers/budget.py",
    "lzero.integrations.transformers.from_pretrained": "integrations/transformers/loading.py",
    "lzero.integrations.fabric.budget": "integrations/fabric.py",
    "lzero.integrations.fabric.FabricSolver": "integrations/fabric.py",
    "lzero.integrations.accelerate.budget": "integrations/accelerate.py",
    "lzero.integrations.accelerate.AccelerateSolver": "integrations/accelerate.py",
    "lzero.integrations.peft.get_peft_model": "integrations/peft.py",
    "lzero.integrations.fsdp.purge": "integrations/fsdp.py",
}


@dataclass(frozen=True)
class Public:
    """A public name: its definition, and that of the class that it is a method of."""

    name: str
    node: ast.ClassDef | ast.FunctionDef
    inside: ast.ClassDef | None = None

    @property
    def docstring(self):
        return ast.get_docstring(self.node) or ""

    @property
    def parameters(self):
        """Names of what a caller passes; of a dataclass its fields."""
        if isinstance(self.node, ast.ClassDef):
            made = next((part for part in self.node.body if _is_def(part, "__init__")), None)
            if made is None:
                return _fields(self.node)
            node = made
        else:
            node = self.node
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        return [given.arg for given in given if given.arg not in ("self", "cls")]

    @property
    def raises(self):
        """Whether its own lines raise, or check an argument with an error to raise."""
        parts = [self.node]
        if isinstance(self.node, ast.ClassDef):
            parts = [part for part in self.node.body if _is_def(part, "__init__", "__post_init__")]
        return any(_raises(node) for part in parts for node in _own(part))


def _own(node):
    """All nodes of a function, but for those of functions within it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _raises(node):
    if isinstance(node, ast.Raise):
        return node.exc is not None and not _named(node.exc, "AttributeError", "NotImplementedError")
    return isinstance(node, ast.Call) and any(keyword.arg == "error" for keyword in node.keywords)


def _named(node, *names):
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def _is_def(node, *names):
    return isinstance(node, ast.FunctionDef) and node.name in names


def _fields(node):
    """The fields of a dataclass, or nothing of another class."""
    if not any(_named(decorator, "dataclass") for decorator in node.decorator_list):
        return []
    return [
        part.target.id
        for part in node.body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.target.id[0] != "_"
        if not _named(part.annotation, "ClassVar")
    ]


def _definition(path, name):
    tree = ast.parse((SOURCE / path).read_text(encoding="utf-8"))
    return next(part for part in tree.body if isinstance(part, ast.ClassDef | ast.FunctionDef) and part.name == name)


def _exported():
    for room in ROOMS:
        module = importlib.import_module(f"lzero.{room}" if room else "lzero")
        for name in module.__all__:
            value = inspect.unwrap(getattr(module, name)) if callable(getattr(module, name)) else None
            if inspect.isclass(value) or inspect.isfunction(value):
                path = Path(inspect.getfile(value)).relative_to(SOURCE)
                yield f"{module.__name__}.{name}", path, value.__name__


def _all():
    found = [*_exported(), *((name, path, name.rpartition(".")[2]) for name, path in RESULTS.items())]
    for name, path, own in found:
        node = _definition(path, own)
        yield Public(name, node)
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                yield Public(f"{name}.{part.name}", part, node)


PUBLIC = {found.name: found for found in _all()}

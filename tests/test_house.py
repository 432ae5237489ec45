"""How the house is kept: who may write into gates, what has a type, what names a module, and how long a file is."""

import ast
from pathlib import Path

import pytest

import lzero.errors
import lzero_lab.errors

ROOT = Path(lzero.errors.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LAB = Path(lzero_lab.errors.__file__).parent
PARSED = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
LINES = 250
ALL = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def named_gates(node):
    """Whether an expression is an object that is called gates: ``gates``, ``twin_gates``, ``self.gates``."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name == "gates" or name.endswith("_gates")


def targets(node):
    """What a statement assigns to, tuples taken apart."""
    if isinstance(node, ast.Tuple | ast.List):
        return [target for part in node.elts for target in targets(part)]
    return targets(node.value) if isinstance(node, ast.Starred) else [node]


def written_into_gates(tree):
    """Attributes of gates, or of what they hold, that a module assigns or deletes, also by ``setattr``."""
    found = []
    for node in ast.walk(tree):
        assigned = []
        if isinstance(node, ast.Assign | ast.Delete):
            assigned = [target for part in node.targets for target in targets(part)]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For | ast.NamedExpr):
            assigned = targets(node.target)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            assigned = targets(node.optional_vars)
        for target in assigned:
            owner = target.value if isinstance(target, ast.Attribute) else None
            if owner is not None and (named_gates(owner) or named_state(owner)):
                found.append(ast.unparse(target))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            found += [ast.unparse(node)] if node.args and named_gates(node.args[0]) else []
    return found


def named_state(node):
    """Whether an expression is an object that gates hold: ``gates.ledger``, ``self.gates.drawing``."""
    return isinstance(node, ast.Attribute) and named_gates(node.value) and node.attr in ("ledger", "drawing", "history")


def unread(tree):
    """Public fields that are annotated ``Any``."""
    return [
        f"{cls.name}.{field.target.id}"
        for cls in ast.walk(tree)
        if isinstance(cls, ast.ClassDef) and not cls.name.startswith("_")
        for field in cls.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if any(isinstance(part, ast.Name) and part.id == "Any" for part in bare(field.annotation))
    ]


def bare(annotation):
    """The alternatives of an annotation: a mapping to ``Any`` is typed, ``Any | None`` is not."""
    if isinstance(annotation, ast.BinOp):
        return [*bare(annotation.left), *bare(annotation.right)]
    return [annotation]


def docstrings(tree):
    """The nodes of the docstrings of a module: also of the constants that a string follows."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def modules_in_strings(tree):
    """String constants that name a module of lzero: what breaks in silence when that moves."""
    dotted = (".".join(("lzero", *path.relative_to(ROOT).with_suffix("").parts)) for path in FILES)
    names = {name.removesuffix(".__init__") for name in dotted} - {"lzero"}
    left_out = docstrings(tree)
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out
        if node.value in names
    ]


@ALL
def test_nobody_writes_into_gates_but_themselves(path):
    if path.parent.name != "gates":
        assert written_into_gates(PARSED[path]) == []


@ALL
def test_no_public_field_is_untyped(path):
    assert unread(PARSED[path]) == []


@ALL
def test_no_string_names_a_module(path):
    if path != ROOT / "__init__.py":  # lzero.plots, which is imported on first use and tested by name
        assert modules_in_strings(PARSED[path]) == []


@pytest.mark.parametrize("root", [ROOT, LAB], ids=lambda root: root.name)
def test_no_file_is_long(root):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in root.rglob("*.py")}
    assert lengths and not [str(path) for path, length in lengths.items() if length > LINES]


@pytest.mark.parametrize(
    "source",
    [
        "gates.plan = plan",
        "self.gates.holder = self._holder = object()",
        "self._agreed, gates.loaded = True, False",
        "twin_gates.held += 1",
        "gates.ledger.loads = 3",
        "del gates.held",
        "setattr(gates, 'plan', plan)",
        "with open(p) as gates.file: pass",
        "for gates.x in y: pass",
    ],
)
def test_what_writes_into_gates_is_noticed(source):
    assert written_into_gates(ast.parse(source))


def test_what_only_reads_them_is_fine():
    source = "self.gates = gates\nx = gates.held\ngates.log_alpha.grad = None\ngates['a'] = 1\ngates.hold(None)"
    assert written_into_gates(ast.parse(source)) == []


def test_untyped_fields_and_names_of_modules_are_noticed():
    assert unread(ast.parse("class A:\n    x: Any\n    y: Any | None = None\n    z: dict[str, Any]")) == ["A.x", "A.y"]
    assert modules_in_strings(ast.parse('"""lzero.gates"""\nx = "lzero.gates.gates"\ny = "lzero."')) == [
        "lzero.gates.gates"
    ]

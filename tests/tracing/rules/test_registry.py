"""How the rule of an op is found, and what becomes of an op that has none or one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from tracing.rules.follow import UNITS, follow

import lzero.tracing.rules
from lzero.tracing.rules import RULES, find_rule, rule
from lzero.tracing.rules.registry import Rule, never_zero

aten = torch.ops.aten


def renormed() -> Any:
    return follow(lambda x: torch.renorm(x, 2, 0, 1.0))


def test_new_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    assert renormed().frozen == UNITS
    monkeypatch.setitem(RULES, "aten.renorm", RULES["aten.mul"])  # taken out again at the end
    rule("aten.renorm")(lambda call: call.set_output(call.axes("self")))
    assert renormed().frozen == []
    monkeypatch.undo()
    assert "aten.renorm" not in RULES and renormed().frozen == UNITS


def test_rule_that_fails_freezes(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(call: Any) -> None:
        raise KeyError("nothing")

    monkeypatch.setitem(RULES, "aten.relu", Rule(broken))
    followed = follow(F.relu)
    assert followed.frozen == UNITS
    assert "the op's rule does not fit: KeyError" in followed.reasons


def test_a_rule_that_gives_labels_of_another_shape_freezes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "aten.relu", Rule(lambda call: call.set_output(call.axes("self")[1:])))
    followed = follow(F.relu)
    assert followed.frozen == UNITS and followed.out == [{}]
    assert "does not fit: ValueError: labels of sizes (4, 6, 6) for a tensor of shape (2, 4, 6, 6)" in followed.reasons


def test_unknown_op_is_named() -> None:
    assert renormed().reasons == "there is no rule for the op (aten.renorm)"


def test_an_op_has_its_own_rule_that_of_its_functional_form_or_that_of_all_elementwise_ops() -> None:
    assert find_rule(aten.add.Tensor) is find_rule(aten.add_.Tensor) is RULES["aten.add"]
    assert find_rule(aten.relu.default) is find_rule(aten.relu_.default) is RULES["pointwise"]
    assert find_rule(aten.renorm.default) is None


def test_an_out_argument_has_no_rule() -> None:
    assert find_rule(aten.add.out) is None and find_rule(aten.add.Tensor) is not None
    followed = follow(lambda x: torch.add(x, x, out=torch.empty(2, 4, 6, 6)))
    assert followed.frozen == UNITS and followed.out == [{}]


def test_of_a_rule_that_says_no_more_nothing_is_known_to_be_zero() -> None:
    assert RULES["aten.amax"].zeros is never_zero
    assert not never_zero(None)  # type: ignore[arg-type]


def test_every_file_of_rules_is_imported_and_registers_some() -> None:
    folder = Path(lzero.tracing.rules.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "registry", "zeros"}
    assert {registered.label.__module__.rpartition(".")[2] for registered in RULES.values()} == files
    for name in files:  # and has a test that all of its ops are run
        tests = Path(__file__).with_name(f"test_{name}.py").read_text(encoding="utf-8")
        assert f'    check_every_op("{name}", ' in tests

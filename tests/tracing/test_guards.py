"""Who is asked for a guard: the user's code, whatever stands between; libraries that only check sizes are not."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
import pytest

from lzero.tracing.guards import DimSize, GuardLog, SizeExpr, in_library, skip_frames_of, user_frame
from lzero.tracing.size_int import SizeInt

A = DimSize(np.arange(1, 7))


def watched() -> tuple[SizeInt, GuardLog]:
    log = GuardLog(lambda: "layer")
    return SizeInt(6, SizeExpr.of(A), log), log


def test_a_guard_names_line_and_module() -> None:
    a, log = watched()
    bool(a)
    assert log.guards[0].place.startswith("test_guards.py:") and log.guards[0].place.endswith(" in layer")
    exact = GuardLog(lambda: "").exactly(SizeExpr.of(A), "makes a constant of its size")
    assert exact.answer(5) == 5 and " in " not in exact.place


def test_a_number_of_no_size_is_no_question() -> None:
    log = GuardLog(lambda: "")
    bool(SizeInt(3, SizeExpr((), lambda sizes: 3), log))
    assert not log.guards


def frame_of(module: str) -> Any:
    source = "import sys\ndef call(f): return f()\nframe = sys._getframe()"
    scope = {"__name__": module}
    FunctionType(compile(source, "f", "exec"), scope)()
    return scope


@pytest.mark.parametrize("module", ["torch", "torch.nn.functional", "einops", "einops.layers.torch"])
def test_libraries_that_only_check_sizes_ask_nothing(module: str) -> None:
    scope = frame_of(module)
    assert in_library(scope["frame"])
    a, log = watched()
    scope["call"](lambda: None)
    exec("bool(a)", {"__name__": module, "a": a})
    assert not log.guards


@pytest.mark.parametrize("module", ["lzero.x", "torchvision.models", "mine", "torch_like", "__main__"])
def test_any_other_code_asks(module: str) -> None:
    assert not in_library(frame_of(module)["frame"])
    a, log = watched()
    exec("bool(a)", {"__name__": module, "a": a})
    assert len(log.guards) == 1


def test_modules_that_only_hand_numbers_on_are_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lzero.tracing.guards._MACHINERY", {"lzero.tracing.guards"})
    call = frame_of("handing.on")["call"]
    name = "handing.on"
    assert call(user_frame).f_globals["__name__"] == name
    skip_frames_of(name)
    assert call(user_frame).f_globals["__name__"] == __name__

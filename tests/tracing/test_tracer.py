"""One watched forward: what it says of units, of who uses and reads what, and of its own faults."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.tracing.op_call import OpCall
from lzero.tracing.op_mode import OpMode
from lzero.tracing.tracer import Trace, trace


def labels(seen: Trace, tensor: str, dim: int) -> np.ndarray[Any, Any]:
    (slot,) = [s for s in seen.classes.slots if (s.tensor, s.dim) == (tensor, dim)]
    return np.arange(slot.start, slot.start + slot.size)


def reason(seen: Trace, tensor: str, dim: int) -> str:
    found = {int(seen.classes.reason[label]) for label in labels(seen, tensor, dim)}
    assert len(found) == 1
    (position,) = found
    return "" if position < 0 else seen.classes.reasons[position].text


class Model(nn.Module):
    def __init__(self, between: Any) -> None:
        super().__init__()
        self.a, self.b, self.between = nn.Linear(4, 6), nn.Linear(6, 2), between

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x)))


class TestTrace:
    def test_follows_units_from_producer_to_consumer(self) -> None:
        seen = trace(Model(torch.relu), torch.randn(3, 4))
        roots = seen.classes.root
        for tensor, dim in (("a.bias", 0), ("b.weight", 1)):
            assert (roots[labels(seen, "a.weight", 0)] == roots[labels(seen, tensor, dim)]).all()
        assert seen.classes.consumer[labels(seen, "b.weight", 1)].all()
        assert not seen.classes.consumer[labels(seen, "a.weight", 0)].any()
        assert reason(seen, "a.weight", 0) == ""
        assert seen.macs == {"a.weight": 72, "b.weight": 36}
        assert seen.users == {"a.weight": {"a"}, "a.bias": {"a"}, "b.weight": {"b"}, "b.bias": {"b"}}

    def test_reasons_name_op_and_module(self) -> None:
        seen = trace(Model(nn.Softmax(-1)), torch.randn(3, 4))
        assert reason(seen, "a.weight", 0) == "the op mixes all units of the dim (aten._softmax in between)"
        assert reason(seen, "a.weight", 1) == "it reads features that no gate controls (aten.addmm in a)"
        assert reason(seen, "b.weight", 0) == "it is an output of the model"

    def test_units_of_size_one_and_kernels_have_no_labels(self) -> None:
        seen = trace(nn.Sequential(nn.Conv2d(1, 3, 2), nn.Conv2d(3, 1, 2)), torch.randn(2, 1, 5, 5))
        assert [(s.tensor, s.dim) for s in seen.classes.slots] == [("0.weight", 0), ("0.bias", 0), ("1.weight", 1)]

    def test_inference_mode_of_the_caller_does_not_matter(self) -> None:
        with torch.inference_mode():
            seen = trace(Model(torch.relu), torch.randn(3, 4))
        assert seen.macs == {"a.weight": 72, "b.weight": 36}
        assert reason(seen, "a.weight", 0) == ""

    def test_memory_shared_with_numpy_freezes(self) -> None:
        seen = trace(Model(lambda h: h + torch.from_numpy(h.numpy()) * 1), torch.randn(3, 4))
        assert "the forward turns it into a NumPy array" in reason(seen, "a.weight", 0)

    def test_failure_names_module_and_shapes(self) -> None:
        with pytest.raises(
            StructureError, match=r"example inputs: a raised RuntimeError: .*Tensors given: \(3, 5\)\. Pass"
        ):
            trace(Model(torch.relu), torch.randn(3, 5))

    def test_exception_caught_inside_keeps_the_path_right(self) -> None:
        class Careful(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.wrong, self.right = nn.Linear(9, 9), nn.Linear(4, 6)

            def forward(self, x: Tensor) -> Tensor:
                try:
                    return self.wrong(x)
                except RuntimeError:
                    return self.right(x).softmax(-1)

        seen = trace(nn.Sequential(Careful(), nn.Linear(6, 2)), torch.randn(3, 4))
        assert "aten._softmax in 0" in reason(seen, "0.right.weight", 0)


@pytest.mark.parametrize("caught", [False, True])
def test_a_fault_of_the_bookkeeping_reads_as_itself_whatever_the_forward_does_with_it(
    monkeypatch: pytest.MonkeyPatch, caught: bool
) -> None:
    def broken(tracer: OpMode, call: OpCall) -> None:
        if call.op == "aten.relu":
            raise LookupError("a label is lost")

    def between(h: Tensor) -> Tensor:
        try:
            return torch.relu(h)
        except LookupError:
            if caught:
                return h
            raise

    monkeypatch.setattr(OpMode, "_record", broken)
    with pytest.raises(LookupError, match="a label is lost"):
        trace(Model(between), torch.randn(3, 4))


@pytest.mark.parametrize("caught", [False, True])
def test_a_way_that_makes_too_much_is_given_up_and_stays_open(monkeypatch: pytest.MonkeyPatch, caught: bool) -> None:
    def between(h: Tensor) -> Tensor:
        if h.sum() > 1e9:
            with suppress(Exception if caught else LookupError):
                for _ in itertools.count():
                    h = h * 1
        return torch.relu(h)

    monkeypatch.setattr("lzero.tracing.tracer._SMALL", 2**17)
    model = Model(between)
    model.unused = nn.Linear(6, 6)
    seen = trace(model, torch.randn(3, 4))
    assert not seen.explored.ways and len(seen.explored.open) == 1
    assert reason(seen, "a.weight", 0) == "the op mixes all units of the dim (aten.sum)"  # that of the first forward


class Picks(nn.Module):
    """The last unit is taken out, and ``used`` somehow."""

    def __init__(self, used: Any) -> None:
        super().__init__()
        self.a, self.b, self.used = nn.Linear(5, 8), nn.Linear(8, 3), used

    def forward(self, x: Tensor) -> Any:
        h = self.a(x).relu()
        return self.used(self.b(h), h[:, :, -1])


@pytest.mark.parametrize(
    ("used", "free"),
    [
        (lambda y, last: y * last.shape[1], True),
        (lambda y, last: y + torch.arange(last.size(1))[:, None], True),
        (lambda y, last: y, True),
        (lambda y, last: y + last[..., None], False),
        (lambda y, last: y + last.view(-1).sum(), False),
        (lambda y, last: y * last.detach().numpy().sum().item(), False),
        (lambda y, last: (y, last), False),
        (lambda y, last: (last.zero_(), y)[1], False),
    ],
)
def test_a_unit_that_is_picked_for_its_sizes_alone_stays_free(used: Any, free: bool) -> None:
    seen = trace(Picks(used).eval(), torch.rand(2, 4, 5))
    assert (reason(seen, "a.weight", 0) == "") == free
    assert free or "picks units by their number" in reason(seen, "a.weight", 0)

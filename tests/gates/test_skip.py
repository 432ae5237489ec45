"""Gates on a whole module: what it gives is blended with what it is given, or with zeros."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plans import sized
from torch import nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.gates.skip import GateFixed, GateNow, Skip
from lzero.plan.block import Block

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def skipped(module, switch, closed="removed"):
    Skip(Block("a.b", closed, ()), switch).attach(module)
    return module


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 4)


@given(st.floats(0, 1))
def test_a_block_is_blended_with_its_input_and_a_branch_with_nothing(z):
    plain, gate = linear(), torch.tensor(z)
    torch.testing.assert_close(skipped(linear(), lambda: gate)(X), (1 - gate) * X + gate * plain(X))
    torch.testing.assert_close(skipped(linear(), lambda: gate, "zero")(X), gate * plain(X))


@pytest.mark.parametrize("closed", ["removed", "identity", "zero"])
@pytest.mark.parametrize("opened", [True, False])
def test_open_and_closed_gates_are_exact_to_the_bit(closed, opened):
    expected = linear()(X) if opened else torch.zeros_like(X) if closed == "zero" else X
    assert torch.equal(skipped(linear(), GateFixed(opened=opened), closed)(X), expected)


def test_a_branch_may_change_the_shape_and_a_block_may_not():
    assert skipped(nn.Linear(4, 2), GateFixed(opened=False), "zero")(X).tolist() == [[0, 0]] * 3
    with pytest.raises(StructureError, match=r"a\.b: expected it to return .* like its input, found shape \[3, 2\]"):
        skipped(nn.Linear(4, 2), GateFixed(opened=True))(X)


class Odd(nn.Module):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, x, *, mask=None):
        return self.made(x)


def test_the_rest_of_what_is_returned_stays():
    made, other = skipped(Odd(lambda x: (x + 1, "other")), GateFixed(opened=False))(X)
    assert torch.equal(made, X) and other == "other"


def test_the_stream_may_be_named_and_stand_behind_a_mask():
    module = skipped(Odd(lambda x: x + 1), GateFixed(opened=False))
    assert torch.equal(module(mask=torch.ones(3, dtype=torch.bool), x=X), X)


def test_a_module_that_gives_nothing_is_told_of():
    with pytest.raises(StructureError, match=r"a\.b: .*found nothing; call it as in the forward of the example"):
        skipped(Odd(lambda x: None), GateFixed(opened=True))(X)


def test_the_dtype_of_the_module_stays():
    module = skipped(Odd(lambda x: x.bfloat16() + 1), lambda: torch.tensor(0.5))
    assert module(X).dtype is torch.bfloat16


class TestGateNow:
    def gates(self):
        return Gates(sized({"a": 3, "b": 2}))

    def test_in_train_mode_it_is_what_was_drawn_with_its_gradient(self):
        gates = self.gates()
        torch.manual_seed(1)
        gates.draw()
        z = GateNow(gates, 1, 1)()
        assert float(z.detach()) == float(gates.current().z[4]) and z.dim() == 0
        z.backward()
        assert gates.log_alpha.grad.nonzero().flatten().tolist() in ([4], [])

    def test_elsewhere_it_is_open_or_closed_and_has_the_gradient_still(self):
        gates = self.gates().eval()
        with torch.no_grad():
            gates.log_alpha.copy_(torch.tensor([2.0, -3.0, 0.5, 1.0, -3.0]))
        gates.draw()
        found = [GateNow(gates, group, place)() for group, size in ((0, 3), (1, 2)) for place in range(size)]
        assert [float(z.detach()) for z in found] == [1, 0, 1, 1, 0]
        assert 0 < float(gates.current().z[2]) < 1
        found[2].backward()
        assert float(gates.log_alpha.grad[2]) > 0

    def test_what_is_fixed_or_held_is_open_or_closed_in_train_mode_too(self):
        gates = self.gates()
        with gates.fixed(torch.tensor([0.3, 0.0, 1.0, 0.2, 0.0])):
            assert [float(GateNow(gates, 0, place)()) for place in range(3)] == [1, 0, 1]
        gates.hold(torch.tensor([True, False, True, True, False]))
        gates.draw()
        assert [float(GateNow(gates, 0, place)()) for place in range(3)] == [1, 0, 1]

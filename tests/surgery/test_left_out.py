"""What stands in for a closed module: it passes on or gives zeros, and is known again by one number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero.plan.block import Block
from lzero.surgery.left_out import MARK, LeftOut, restored, stand_in

X = torch.randn(2, 3)


@pytest.mark.parametrize(("zero", "expected"), [(False, X), (True, torch.zeros(2, 3))])
def test_it_gives_what_it_is_given_or_zeros(zero, expected):
    assert torch.equal(LeftOut(zero=zero, returns=0)(X, 3, mask=None), expected)
    assert torch.equal(LeftOut(zero=zero, returns=0)(mask=torch.ones(2, dtype=torch.bool), x=X), expected)
    made = LeftOut(zero=zero, returns=3)(X)
    assert torch.equal(made[0], expected) and made[1:] == (None, None)
    assert LeftOut(zero=zero, returns=1)(X)[0].shape == X.shape


@given(st.booleans(), st.integers(0, 60))
def test_the_mark_tells_all_of_it(zero, returns):
    module = LeftOut(zero=zero, returns=returns)
    again = restored(module.state_dict()[MARK])
    assert (again.zero, again.returns) == (zero, returns)
    assert not list(module.parameters())


@pytest.mark.parametrize(("closed", "zero"), [("identity", False), ("removed", False), ("zero", True)])
def test_it_stands_in_for_a_block(closed, zero):
    module = stand_in(Block("a", closed, (), 2))
    assert (module.zero, module.returns) == (zero, 2)


def test_it_prints_what_it_gives():
    assert "zeros" in str(LeftOut(zero=True, returns=0)) and "passes on" in str(LeftOut(zero=False, returns=0))

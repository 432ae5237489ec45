"""What stands in for ops that know no float64: the same numbers, forward and backward, and nothing else touched."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lzero.host.stand_ins import exact_ops, grouped_mm

pytestmark = pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="torch has no grouped_mm")

FORMS = {
    "rows": ((8, 16), (3, 16, 8), [2, 2, 8]),
    "columns": ((3, 4, 16), (16, 24), [8, 20, 24]),
    "terms": ((4, 16), (16, 8), [4, 16]),
    "a stack each": ((3, 4, 16), (3, 16, 8), None),
}


def stacks(dtype: torch.dtype) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(torch.zeros(2, 4, 8, dtype=dtype))])


@pytest.mark.parametrize("form", FORMS)
def test_products_in_groups_are_those_of_the_op(form: str) -> None:
    one, two, ends = FORMS[form]
    a, b = torch.randn(one), torch.randn(two)
    offs = None if ends is None else torch.tensor(ends, dtype=torch.int32)
    expected = F.grouped_mm(a, b, offs=offs)
    torch.testing.assert_close(grouped_mm(a, b, offs), expected)
    with exact_ops(stacks(torch.float64)):
        found = F.grouped_mm(a.double(), b.double(), offs=offs)
        assert torch.equal(F.grouped_mm(a, b, offs=offs), expected)  # in single the op itself
    assert found.dtype is torch.float64
    torch.testing.assert_close(found.float(), expected)


def test_gradients_in_double_are_those_in_single() -> None:
    offs = torch.tensor([3, 8], dtype=torch.int32)
    a, b = torch.randn(8, 16, requires_grad=True), torch.randn(2, 16, 8, requires_grad=True)
    expected = torch.autograd.grad(F.grouped_mm(a, b, offs=offs).square().sum(), (a, b))
    c, d = a.detach().double().requires_grad_(), b.detach().double().requires_grad_()
    with exact_ops(stacks(torch.float64)):
        found = torch.autograd.grad(F.grouped_mm(c, d, offs=offs).square().sum(), (c, d))
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one.float(), two, rtol=1e-4, atol=1e-4)


def test_what_is_added_and_the_dtype_that_is_asked_for() -> None:
    a, b = torch.randn(2, 4, 8).double(), torch.randn(2, 8, 8).double()
    made = grouped_mm(a, b, bias=torch.ones(8).double(), out_dtype=torch.float32)
    assert made.dtype is torch.float32
    torch.testing.assert_close(made, (a @ b + 1).float())


def test_models_without_stacks_in_double_pay_nothing() -> None:
    assert isinstance(exact_ops(nn.Linear(2, 2).double()), nullcontext)
    assert isinstance(exact_ops(stacks(torch.float32)), nullcontext)

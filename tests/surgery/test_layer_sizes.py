"""Sizes follow the class that is meant, not any class of that name."""

from __future__ import annotations

import pytest
import torch
from nets import Net, sizes
from torch import Tensor, nn

import lzero
from lzero.host.run import run
from lzero.surgery.layer_sizes import correct_sizes, has_rule
from lzero.surgery.layers import cached_sizes


class Conv1D(nn.Module):
    """Somebody's convolution, which is not the transposed Linear of Hugging Face that has its name."""

    def __init__(self, made: int, read: int) -> None:
        super().__init__()
        self.nx = self.nf = 7  # something else than sizes of the weight
        self.weight = nn.Parameter(torch.randn(made, read, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv1d(x, self.weight, padding=1) * self.nx


def test_a_class_of_the_name_of_a_known_one_is_gated_and_purged_like_any_other() -> None:
    net = Net(lambda net, x: net.b(net.a(x).relu()), a=Conv1D(6, 3), b=Conv1D(2, 6))
    x = torch.randn(2, 3, 9)
    gates = lzero.attach_gates(net, x)
    assert sizes(gates.plan) == {"a": 6}
    with torch.no_grad():
        gates.log_alpha[1:4] = -9.0
    small = lzero.purge(net).model
    assert (small.a.nx, small.b.nf) == (7, 7)
    torch.testing.assert_close(run(small, x), run(net, x), rtol=1e-4, atol=1e-4)


def test_the_one_of_hugging_face_keeps_its_rule_also_under_another_class() -> None:
    library = pytest.importorskip("transformers.pytorch_utils")

    class Mine(library.Conv1D):  # type: ignore[misc]
        pass

    net = nn.Sequential(Mine(6, 3), nn.ReLU(), library.Conv1D(2, 6))
    assert has_rule(net[0]) and has_rule(net[2]) and not has_rule(Conv1D(2, 6))
    gates = lzero.attach_gates(net, torch.randn(2, 3))
    with torch.no_grad():
        gates.log_alpha[1:4] = -9.0
    small = lzero.purge(net).model
    assert (small[0].nf, small[2].nx) == (3, 3)


def test_the_sizes_of_a_module_around_follow_too() -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.kept = nn.Sequential(nn.Linear(3, 4)), 4

    @cached_sizes(Body)
    def body_sizes(body: Body) -> None:
        body.kept = body.inner[0].weight.shape[0]

    model = nn.Sequential(Body())
    model[0].inner[0].weight = nn.Parameter(torch.zeros(2, 3))
    correct_sizes(model, ["0.inner.0.weight"])
    assert model[0].kept == 2 and model[0].inner[0].out_features == 2

"""Running a stranger's forward: the same twice, nothing left behind, and its failures told from ours."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from nets import Net
from torch import Tensor, nn

from lzero.host.inputs import ExampleInputs
from lzero.host.module_path import ModulePath
from lzero.host.run import ForwardError, forward, run

X = torch.randn(4, 5)


def noisy() -> Net:
    """A net whose forward draws from all three streams."""

    def forward(net: Any, x: Tensor) -> Tensor:
        scale = 1.0 + random.random() + float(np.random.rand()) + float(torch.rand(()))
        return net.b((net.a(x) * scale).relu())

    return Net(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 2))


def test_two_runs_agree_wherever_the_streams_are() -> None:
    net = noisy()
    one = run(net, X)
    random.random(), np.random.rand(), torch.rand(())
    assert torch.equal(run(net, X)[0], one[0])


def test_outputs_come_flat_in_order_and_without_a_gradient() -> None:
    net = Net(lambda net, x: {"a": [net.a(x), 3], "b": (net.b(net.a(x)), None)}, a=nn.Linear(5, 8), b=nn.Linear(8, 2))
    found = run(net.train(), X)
    assert [tensor.shape[1] for tensor in found] == [8, 2] and not any(tensor.requires_grad for tensor in found)
    assert not any(module.training for module in net.modules())


def test_a_forward_alone_keeps_mode_and_gradient() -> None:
    net = nn.Sequential(nn.Linear(5, 2), nn.Dropout(0.5)).train()
    made = forward(net, ExampleInputs(X))
    assert net.training and made.requires_grad
    assert torch.equal(made, forward(net, ExampleInputs(X)))  # from the same seed


def broken(net: Any, x: Tensor) -> Tensor:
    raise KeyError("first line\nsecond line")


def test_a_failure_has_place_kind_and_first_line() -> None:
    net = nn.Sequential(nn.Linear(5, 5), Net(broken))
    where = ModulePath(net)
    with pytest.raises(ForwardError) as caught:
        forward(net, ExampleInputs(X), where)
    assert caught.value.path == "1" and isinstance(caught.value.error, KeyError)
    assert str(caught.value).startswith("1: KeyError: ")
    with pytest.raises(ForwardError, match=r"^its forward: KeyError"):
        run(net, X)


def test_the_next_forward_forgets_where_the_last_one_failed() -> None:
    net = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 2))
    where = ModulePath(net)
    with pytest.raises(ForwardError, match=r"^0: RuntimeError"):
        forward(net, ExampleInputs(torch.randn(2, 3)), where)
    forward(net, ExampleInputs(X), where)
    assert where.current == "" and where.entered == {"", "0", "1"}


def test_what_is_no_failure_of_the_forward_stays_what_it_is() -> None:
    class Stops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Stops(), X)

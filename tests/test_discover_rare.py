"""What only some inputs reach is cut with the rest, or what it may read is left alone."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
import torch
from nets import Net, reasons, sizes
from rare import CASES, FAR, Case, X, square, two_layers
from torch import Tensor, nn

import lzero
from lzero.plan.plan import Plan
from lzero.surgery.shrink import scale_consumers, shrink


def check_exact(model: nn.Module, plan: Plan, inputs: Tensor, seed: int) -> None:
    """Gated and purged give the same on ``inputs``, whatever is closed."""
    generator, values = torch.Generator().manual_seed(seed), dict[str, Tensor]()
    for group in plan.groups:
        z = torch.rand(group.size, generator=generator, dtype=torch.float64) + 0.1
        closed = torch.rand(group.size, generator=generator) < 0.5
        closed[0], closed[-1] = False, True
        values[group.name] = z.masked_fill(closed, 0.0)
    gated = copy.deepcopy(model).double().eval()
    scale_consumers(gated, plan.groups, values)
    with torch.no_grad():
        expected = copy.deepcopy(gated)(inputs.double())
        shrink(gated, plan.groups, {name: z > 0 for name, z in values.items()})
        torch.testing.assert_close(gated(inputs.double()), expected)


@torch.no_grad()
def uses(model: nn.Module, name: str, inputs: Tensor) -> bool:
    """Whether the outputs on ``inputs`` depend on the parameter ``name``."""
    other = copy.deepcopy(model)
    other.get_parameter(name).add_(torch.randn(other.get_parameter(name).shape))
    return not torch.equal(other(inputs), model(inputs))


@pytest.mark.filterwarnings("ignore:Net. .*no forward has reached it:lzero.LzeroWarning")
class TestRareWays:
    @pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
    def test_what_other_inputs_reach_is_purged_with_the_rest_or_refused(self, case: Case) -> None:
        model = case.build()
        if case.rare:
            assert uses(model, case.rare, case.other) and not uses(model, case.rare, case.example)
        plan = lzero.discover(model, case.example)
        assert sizes(plan) == case.found
        for seed in range(3):
            check_exact(model, plan, case.other, seed)
            check_exact(model, plan, case.example, seed)
        if not case.found:
            assert "may read it: no forward has reached it, and values decide" in reasons(plan)

    def test_model_and_random_state_stay_as_they_were(self) -> None:
        case = CASES["experts by a list"]
        model = case.build()
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        lzero.discover(model, case.example)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)

    def test_where_inputs_reach_it_nothing_is_lost(self) -> None:
        case = CASES["NumPy"]
        model = case.build()
        plan = lzero.discover(model, case.other)
        assert sizes(plan) == {"a": 8}
        check_exact(model, plan, case.other, 0)


def found(between: Any, **parts: Any) -> dict[str, int]:
    return sizes(lzero.discover(two_layers(between, **parts)(), X))


class TestNothingIsLost:
    def test_where_no_value_decides(self) -> None:
        assert found(lambda net, x, h: torch.where(h > 1, h, -h), spare=square) == {"a": 8}
        assert found(lambda net, x, h: h, spare=square) == {"a": 8}

    def test_where_a_forward_checks_its_inputs(self) -> None:
        def checked(net: Any, x: Tensor, h: Tensor) -> Tensor:
            if not x.isfinite().all():
                raise ValueError("not finite")
            assert (x.abs() < 1e4).all()
            return h

        assert found(checked, spare=square) == {"a": 8}

    def test_where_a_size_that_fits_is_never_used(self) -> None:
        def clamped(net: Any, x: Tensor, h: Tensor) -> Tensor:
            return h.clamp(max=3) if h.shape[0] and (x > 0).any() else h

        assert found(clamped, spare=square) == {"a": 8}

    def test_where_train_mode_drops_layers(self) -> None:
        def dropping(net: Any, x: Tensor, h: Tensor) -> Tensor:
            return h if net.training and torch.rand(()) < 0.5 else net.layer(h).relu()

        assert found(dropping, layer=square) == {"a": 8, "layer": 8}


class Encoder(nn.Module):
    """Returns what it makes, and its hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.a(x).relu()
        return self.b(hidden), hidden


class Decoder(nn.Module):
    """Reads hidden units, if it is given any, where values are large."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.rare = nn.Linear(5, 3), nn.Linear(8, 3)

    def forward(self, made: Tensor, hidden: Tensor | None = None) -> Tensor:
        out = self.c(made)
        if made.numpy().max() > 50 and hidden is not None:
            out = out + self.rare(hidden)
        return out  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:Net. .*no forward has reached it:lzero.LzeroWarning")
def test_only_what_a_module_is_given_may_be_read_in_it() -> None:
    def model(count: int) -> nn.Module:
        return Net(lambda net, x: net.dec(*net.enc(x)[:count]), enc=Encoder(), dec=Decoder())

    assert sizes(lzero.discover(model(1), X)) == {"enc.a": 8}
    plan = lzero.discover(model(2), X)
    assert not plan.groups and "enc.a: dec.rare.weight may read it" in reasons(plan)


class TestWarning:
    def test_names_what_no_forward_has_reached(self) -> None:
        def through_numpy(net: Any, x: Tensor, h: Tensor) -> Tensor:
            wide = torch.cat([h, x], 1)
            return h + net.rare(wide) if x.numpy().max() > 50 else h

        model = two_layers(through_numpy, rare=lambda: nn.Linear(14, 7))()
        with pytest.warns(lzero.LzeroWarning, match=r"rare\.weight: no forward has reached it, .*pass example inputs"):
            plan = lzero.discover(model, X)
        assert sizes(plan) == {"a": 8}


def test_a_loop_that_another_answer_keeps_running_ends() -> None:
    def shrinking(net: Any, x: Tensor, h: Tensor) -> Tensor:
        while not (x.abs() < 1).all():
            x = x / 2
        return h

    started = time.process_time()
    assert found(shrinking) == {"a": 8}
    assert time.process_time() - started < 5


def test_the_other_way_is_refused_where_it_cannot_be_cut() -> None:
    def literal(net: Any, x: Tensor, h: Tensor) -> Tensor:
        return h.reshape(4, 8) * 2 if x.abs().max() > 50 else h

    plan = lzero.discover(two_layers(literal)(), X)
    assert not plan.groups and FAR.shape == X.shape

"""The proof block by block: as strict as that of the whole model, and stricter where depth would hide a fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import Net, sizes
from plans import same, snapshot
from proving.chains import hidden, proof_of
from random_graphs import Graph, programs
from torch import Tensor, nn

import lzero
from lzero.discover import discover
from lzero.host.copies import private_copy
from lzero.plan.group import GateGroup, Member
from lzero.plan.refusal import Refusal
from lzero.proving.blocks import ModelProof
from lzero.tracing.grouping import unit_groups
from lzero.tracing.tracer import trace

X = torch.randn(3, 4)


class Block(nn.Module):
    """A hidden layer of six units with something between."""

    def __init__(self, between: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.fc, self.out, self.between = nn.Linear(4, 6), nn.Linear(6, 4), between

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.between(self.fc(x)))


def accept(model: nn.Module, groups: list[GateGroup], x: Any = X) -> tuple[list[str], list[Refusal]]:
    """What the proof alone accepts, without what watches sizes."""
    spare = private_copy(model)
    accepted, refusals = ModelProof(spare, x, trace(spare, x)).accept(groups)
    return [group.name for group in accepted], refusals


def test_all_groups_of_a_deep_and_narrow_chain_are_proved() -> None:
    """On the whole of it most outputs are dead on random weights, and nothing could be seen."""
    layers: list[nn.Module] = []
    for _ in range(60):
        layers += [nn.Linear(4, 4), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(4, 2))
    plan = discover(model, X)
    assert sizes(plan) == {str(2 * number): 4 for number in range(60)}
    assert {refusal.name for refusal in plan.refusals} == {"0.input", "120"}


OUTSIDE: dict[str, Callable[..., Tensor]] = {
    "a hard-coded number of it": lambda net, x: net.head(
        net.block(x).view(-1, net.block.fc.out_features - 2, 1).flatten(1)
    ),
    "a scale by its size": lambda net, x: net.head(net.block(x)) * net.block.fc.out_features,
    "a branch on its size": lambda net, x: net.head(net.block(x)) * (1 if net.block.fc.out_features == 6 else -1),
    "a branch on another": lambda net, x: net.head(net.block(x)) + (0 if net.block.out.in_features > 5 else 1),
    "a literal size of what it keeps": lambda net, x: net.head(net.block(x)) + net.block.fc.bias.numel(),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTSIDE)
def test_a_group_that_holds_in_its_block_and_breaks_the_rest_is_refused(case: str) -> None:
    model = Net(OUTSIDE[case], block=Block(), head=nn.Linear(4, 2))
    group = hidden("block.fc", "block.out", 6)
    block = proof_of(model.block, X)  # type: ignore[arg-type]
    assert block.accept([hidden("fc", "out", 6)])[0]  # in its block it is sound
    names, refusals = accept(model, [group])
    assert not names and [refusal.name for refusal in refusals] == ["block.fc"]
    assert "block.fc" not in sizes(discover(model, X))


def test_one_that_breaks_the_rest_costs_no_other() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.head(net.two(net.one(x))) * net.one.fc.out_features

    model = Net(forward, one=Block(), two=Block(), head=nn.Linear(4, 2))
    groups = [hidden("one.fc", "one.out", 6), hidden("two.fc", "two.out", 6)]
    names, refusals = accept(model, groups)
    assert names == ["two.fc"] and [refusal.name for refusal in refusals] == ["one.fc"]


class Contracts(nn.Module):
    """What came in counts for less and less beside what is added."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x * 1e-3)


@pytest.mark.parametrize("fault", [lambda h: h / h.shape[-1], lambda h: h - h.mean(-1, keepdim=True)])
def test_a_fault_that_depth_would_hide_is_found_in_its_block(fault: Callable[[Tensor], Tensor]) -> None:
    model = nn.Sequential(Block(fault), *(Contracts() for _ in range(6)), Block())
    faulty, sound = hidden("0.fc", "0.out", 6), hidden("7.fc", "7.out", 6)
    hidden_fault, _ = proof_of(model, X).accept([faulty, sound])
    assert faulty in hidden_fault  # nothing of it is left in the outputs
    names, _ = accept(model, [faulty, sound])
    assert names == ["7.fc"]


def test_what_differs_in_its_part_and_is_read_by_nobody_is_no_fault() -> None:
    """Averages over heads, say: an output of the block that the model drops."""

    class Reports(Block):
        def forward(self, x: Tensor) -> Any:  # type: ignore[override]
            h = self.fc(x).relu()
            return self.out(h), h.mean(-1)

    model = Net(lambda net, x: net.head(net.block(x)[0]), block=Reports(), head=nn.Linear(4, 2))
    assert not proof_of(model.block, X).accept([hidden("fc", "out", 6)])[0]  # type: ignore[arg-type]
    assert accept(model, [hidden("block.fc", "block.out", 6)])[0] == ["block.fc"]


def test_a_refusal_of_a_part_names_the_tensors_of_the_model() -> None:
    model = nn.Sequential(Block(lambda h: h / h.shape[-1]), *(Contracts() for _ in range(6)))
    _, (refusal,) = accept(model, [hidden("0.fc", "0.out", 6)])
    assert refusal.tensors == ("0.fc.weight", "0.fc.bias", "0.out.weight")
    assert "purged and gated outputs differ by" in refusal.reason


def test_groups_that_were_given_stay_first_and_come_back_once() -> None:
    model = Net(lambda net, x: net.head(net.two(net.one(x))), one=Block(), two=Block(), head=nn.Linear(4, 2))
    one, two = hidden("one.fc", "one.out", 6), hidden("two.fc", "two.out", 6)
    spare = private_copy(model)
    proof = ModelProof(spare, X, trace(spare, X))
    assert proof.accept([], [one]) == ([one], [])
    assert proof.accept([two], [one]) == ([one, two], [])


def test_refusals_of_the_whole_proof_keep_their_reasons() -> None:
    model = Net(lambda net, x: net.head(net.block(x)), block=Block(lambda h: h / h.shape[-1]), head=nn.Linear(4, 2))
    names, (refusal,) = accept(model, [hidden("block.fc", "block.out", 6)])
    assert not names and "purged and gated outputs differ by" in refusal.reason


def test_a_part_that_cannot_be_copied_alone_is_proved_on_the_whole() -> None:
    class Odd(Block):
        def __deepcopy__(self, memo: dict[int, Any]) -> Odd:
            if not memo:
                raise RuntimeError("never alone")
            made = Odd.__new__(Odd)
            nn.Module.__init__(made)
            made.fc, made.out = copy.deepcopy((self.fc, self.out), memo)
            made.between = self.between
            return made

    model = Net(lambda net, x: net.head(net.block(x)), block=Odd(), head=nn.Linear(4, 2))
    names, _ = accept(model, [hidden("block.fc", "block.out", 6)])
    assert names == ["block.fc"]


def test_a_model_that_runs_in_single_alone_is_told_of() -> None:
    model = Net(lambda net, x: net.b(net.a(x).float().relu()), a=nn.Linear(4, 6), b=nn.Linear(6, 2))
    with pytest.warns(lzero.LzeroWarning, match="does not run in float64: its groups are proved in float32"):
        assert sizes(discover(model, X)) == {"a": 6}


def test_the_users_modules_are_untouched_and_no_hook_stays() -> None:
    model = Net(lambda net, x: net.head(net.block(x)), block=Block(), head=nn.Linear(4, 2))
    before = snapshot(model)
    discover(model, X)
    same(before, snapshot(model))
    spare = private_copy(model)
    accepted, _ = ModelProof(spare, X, trace(spare, X)).accept([hidden("block.fc", "block.out", 6)])
    assert accepted and not any(module._forward_hooks or module._forward_pre_hooks for module in spare.modules())


def shifted(group: GateGroup) -> GateGroup:
    """The same with every reader one unit off: a fault that only numbers show."""
    members = tuple(
        Member(m.tensor, m.dim, m.index.roll(1, 0) if m.role == "consumer" else m.index, m.role) for m in group.members
    )
    return GateGroup(f"{group.name}, shifted", group.size, group.kind, members)


def differing(model: nn.Module, x: Tensor, groups: list[GateGroup]) -> set[str]:
    """The groups that the proof on the whole model refutes by numbers."""
    _, refusals = proof_of(model, x).accept(groups)
    return {refusal.name for refusal in refusals if "outputs differ by" in refusal.reason}


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(program=programs(), seed=st.integers(0, 1000))
def test_nothing_is_accepted_that_the_whole_model_refutes(program: list[tuple[str, int, int, int]], seed: int) -> None:
    torch.manual_seed(seed)
    model, x = nn.Sequential(nn.Conv2d(3, 3, 1), Graph(program), nn.Conv2d(3, 2, 1)), torch.randn(2, 3, 4, 4)
    spare = private_copy(model)
    seen = trace(spare, x)
    sound, _ = unit_groups(seen, spare, lambda members: None)
    groups = [*sound[:2], *map(shifted, sound[:2])]
    accepted, _ = ModelProof(spare, x, seen).accept(groups)
    names = {group.name for group in accepted}
    suspects = names & differing(model, x, groups)  # together with others that may be at fault
    for group in groups:
        assert group.name not in suspects or not differing(model, x, [group])


def test_what_rounding_decides_on_another_way_is_compared_in_double() -> None:
    def forward(net: Any, x: Tensor) -> Any:
        y = net.block(x)
        return (y, (y * 1e7).long()) if x.abs().max() > 50 else y

    model = Net(forward, block=nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 30)))
    assert sizes(lzero.discover(model, X)) == {"block.0": 64}

"""Units that leave a model while it trains: what is left goes on as it did with their gates at 0, to rounding."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from compacting import OPTIMIZERS, Net, X, Y, gated, shared_training, step
from processes import run
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

import lzero
from lzero.compact import gates_that_stay
from lzero.cost import Cost
from lzero.surgery.shrink import shrink


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """All that must stay where something fails: objects, values, and what the optimizer has."""
    tensors = [(n, id(t), t.detach().clone()) for n, t in (*model.named_parameters(), *model.named_buffers())]
    memory = [(id(p), n, v.clone() if isinstance(v, torch.Tensor) else v)
              for p, s in optimizer.state.items() for n, v in s.items()]  # fmt: skip
    hooks = [(len(m._forward_pre_hooks), len(m._load_state_dict_pre_hooks), type(m).__name__) for m in model.modules()]
    return [*tensors, *memory, *hooks]


def equal(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(
        all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(a, b, strict=True))
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("granularity", ["unit", "input"])
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_training_goes_on_as_with_the_gates_at_zero(name: str, granularity: str) -> None:
    (one, gates), (two, fewer) = gated(granularity), gated(granularity)
    whole, cut = OPTIMIZERS[name](one.parameters()), OPTIMIZERS[name](two.parameters())
    stay = gates_that_stay(gates)
    drawn = torch.rand(7, len(gates), dtype=torch.float64) * stay
    for z in drawn[:3]:
        assert torch.equal(step(one, gates, whole, z), step(two, fewer, cut, z))
    parameters = list(two.parameters())
    assert lzero.compact(two, cut) == len(gates) - len(fewer) > 3
    assert all(a is b for a, b in zip(parameters, two.parameters(), strict=True))
    assert sum(p.numel() for p in parameters) < sum(p.numel() for p in one.parameters())
    for z in drawn[3:]:
        torch.testing.assert_close(step(two, fewer, cut, z[stay]), step(one, gates, whole, z), rtol=1e-9, atol=1e-9)
    one.eval(), two.eval()
    torch.testing.assert_close(two(X), one(X), rtol=1e-7, atol=1e-8)  # Adam divides rounding by its own size


def test_budgets_stay_shares_of_what_the_model_was() -> None:
    (one, gates), (two, fewer) = gated(), gated()
    lzero.compact(two)
    stay = gates_that_stay(gates)
    for measure in ("params", "macs", "gates"):
        before, after = Cost(gates, measure), Cost(fewer, measure)
        assert torch.equal(before.total, after.total)
        p = torch.rand(len(gates), dtype=torch.float64) * stay
        torch.testing.assert_close(after.value(p[stay]), before.value(p))
        torch.testing.assert_close(after.gradient(p[stay], 0), before.gradient(p, 0)[stay])
    for budget in (0.3, 0.2):
        asked = [lzero.Constraint(budget)]
        first, second = (lzero.purge(model, constraints=asked) for model in (one, two))
        found, expected = second.certificate.to_dict(), first.certificate.to_dict()
        for name in ("asked", "before_settling", "deployed", "moved", "parameters", "parameters_before"):
            assert found[name] == expected[name]
        assert str(first.table()) == str(second.table())
        assert all(torch.equal(first.kept[name], second.kept[name]) for name in first.kept)
        torch.testing.assert_close(second.model(X), first.model(X), rtol=1e-12, atol=1e-12)


def test_a_purged_one_is_loaded_into_the_model_that_gates_were_attached_to(tmp_path: Any) -> None:
    model, _ = gated("input")
    lzero.compact(model)
    result = lzero.purge(model, constraints=[lzero.Constraint(0.3)])
    lzero.save_purged(result, tmp_path / "small")
    found = lzero.load_purged(Net().double(), tmp_path / "small")
    assert torch.equal(found.eval()(X), result.model.eval()(X))


def test_what_leaves_twice_leaves_as_at_once() -> None:
    (one, gates), (two, fewer) = gated(), gated()
    with torch.no_grad():
        late = gates.log_alpha.clone()
        fewer.log_alpha[::3] = 2.0
    lzero.compact(two)
    assert fewer.whole is not None
    with torch.no_grad():
        fewer.log_alpha.copy_(late[fewer.whole.numbers])
    assert lzero.compact(two) > 0 and lzero.compact(one) > 0 and lzero.compact(one) == 0
    assert gates.whole is not None and torch.equal(gates.whole.numbers, fewer.whole.numbers)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("granularity", ["unit", "input"])
def test_a_saved_training_goes_on_in_a_model_built_anew(granularity: str) -> None:
    model, gates = gated(granularity)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    solver = lzero.Solver(gates, 0.3, total_steps=200)

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, solver: lzero.Solver) -> None:
        torch.manual_seed(3)
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
            solver.step()

    train(model, optimizer, solver)
    assert lzero.compact(model, optimizer) > 0
    saved = copy.deepcopy(model.state_dict())  # before the solver's next step
    memory = copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, solver)
    torch.manual_seed(1)
    other = Net().double()
    others = lzero.attach_gates(other, X[:2], granularity=granularity)
    another = torch.optim.Adam(other.parameters(), 1e-2)
    second = lzero.Solver(others, 0.3, total_steps=200)
    other.load_state_dict(saved)
    another.load_state_dict(memory)
    train(other, another, second)
    assert second.steps == solver.steps == 8
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert second.metrics() == solver.metrics()


def test_a_training_that_lost_less_is_not_loaded_into_what_lost_more() -> None:
    model, _ = gated()
    whole = copy.deepcopy(model.state_dict())
    lzero.Solver(lzero.gates_of(model), 0.3, total_steps=200)
    trained = copy.deepcopy(model.state_dict())
    lzero.compact(model)
    before = copy.deepcopy(model.state_dict())
    assert len(whole) < len(trained)
    with pytest.raises(lzero.SolverError, match="have left this model since"):
        model.load_state_dict(trained)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    "left",
    [7, torch.tensor([0.5]), torch.tensor([[0]]), torch.tensor([1, 2]), torch.arange(9, 26), torch.tensor([0, 99])],
    ids=repr,
)
def test_what_is_left_is_checked_before_a_model_loses_units(left: Any) -> None:
    model, gates = gated()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(lzero.SolverError, match="load"):
        model.load_state_dict({**before, "lzero.left": left})
    assert gates.whole is None
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_a_front_of_a_model_that_units_have_left_counts_from_the_whole() -> None:
    (one, _), (two, _) = gated(), gated()
    lzero.compact(two)
    first, second = (lzero.front(model, [0.3, 0.2], lambda small: float(small(X).sum())) for model in (one, two))
    for row, other in zip(first.rows, second.rows, strict=True):
        assert {**row, "evaluation": 0} == {**other, "evaluation": 0}
        assert row["evaluation"] == pytest.approx(other["evaluation"])


def test_a_gradient_that_waits_and_a_graph_that_is_alive_are_no_obstacle() -> None:
    model, _ = gated()
    loss = F.cross_entropy(model(X), Y)
    loss.backward()
    full = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    lzero.compact(model)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape
        assert parameter.grad.numel() <= full[name].numel()
    after = F.cross_entropy(model(X), Y)  # while the first loss still holds its graph
    after.backward()
    assert loss.grad_fn is not None


def test_averages_lose_the_same_units() -> None:
    model, _ = gated()
    average = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    average.update_parameters(model)
    with pytest.raises(RuntimeError):  # what happens to who forgets it
        other, _ = gated()
        forgotten = AveragedModel(other)
        forgotten.update_parameters(other)
        lzero.compact(other)
        forgotten.update_parameters(other)
    count = lzero.compact(model, copies=[average])
    average.update_parameters(model)
    assert count and len(lzero.gates_of(average.module)) == len(lzero.gates_of(model))
    average.eval()
    model.eval()
    torch.testing.assert_close(average(X), model(X), rtol=1e-12, atol=1e-12)


def test_groups_that_a_budget_keeps_alike_lose_alike() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(m for _ in range(3) for m in (nn.Linear(8, 8), nn.ReLU())), nn.Linear(8, 2))
    gates = lzero.attach_gates(model, torch.randn(2, 8))
    lzero.Solver(gates, constraints=[lzero.Constraint(0.5, uniform=True)], total_steps=300)
    with torch.no_grad():
        for name, closed in zip(gates.slices, (2, 5, 3), strict=True):
            gates[name][:closed] = -9.0
    assert lzero.compact(model) == 6
    assert [layer.out_features for layer in model if isinstance(layer, nn.Linear)] == [6, 6, 6, 2]
    result = lzero.purge(model)
    assert len({layer.out_features for layer in result.model if isinstance(layer, nn.Linear)} - {2}) == 1


def test_widths_of_streams_blocks_and_single_weights_stay() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 10), nn.Linear(10, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.down(torch.relu(self.up(self.norm(x))))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), *(Block() for _ in range(3)), nn.LayerNorm(6), nn.Linear(6, 2)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    gates = lzero.attach_gates(model, x, granularity="width+depth")
    with torch.no_grad():
        for where in gates.slices.values():
            gates.log_alpha[where.start + 1 : where.stop] = -9.0
    before = model.eval()(x)
    left = {name: where.stop - where.start for name, where in gates.slices.items()}
    lzero.compact(model)
    now = {name: where.stop - where.start for name, where in gates.slices.items()}
    assert {name for name in left if now[name] < left[name]} == {f"{n}.up" for n in (1, 2, 3)}
    torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)
    weights, _ = gated("weight")
    assert lzero.compact(weights) == 0


class Fancy(torch.optim.SGD):
    """Keeps something of its own about each parameter."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["sketch"] = torch.zeros(17)


@pytest.mark.parametrize("way", ["state", "interrupt", "surgery"])
def test_whatever_stops_it_everything_is_as_it_was(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, gates = gated("input")
    optimizer: torch.optim.Optimizer = (Fancy if way == "state" else torch.optim.Adam)(model.parameters(), 1e-2)
    lzero.Solver(gates, 0.3, total_steps=300)
    F.cross_entropy(model(X), Y).backward()
    optimizer.step()
    before, log_alpha, plan = state_of(model, optimizer), gates.log_alpha, gates.plan
    grads = [p.grad for p in model.parameters()]
    error: type[BaseException] = lzero.StructureError
    if way != "state":
        error = KeyboardInterrupt
        name = "lzero.surgery.narrow." + ("hook_loading_first" if way == "interrupt" else "shrink")

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(name, stop)
    with pytest.raises(error):
        lzero.compact(model, optimizer)
    assert equal(before, state_of(model, optimizer))
    assert gates.log_alpha is log_alpha and gates.plan is plan and gates.whole is None
    assert all(a is b for a, b in zip(grads, (p.grad for p in model.parameters()), strict=True))
    F.cross_entropy(model(X), Y).backward()
    monkeypatch.undo()
    if way != "state":
        assert lzero.compact(model, optimizer) > 0


def test_a_copy_that_stops_it_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model, gates = gated()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    lzero.Solver(gates, 0.3, total_steps=300)
    F.cross_entropy(model(X), Y).backward()
    optimizer.step()
    average = copy.deepcopy(model)
    before = state_of(model, optimizer), {name: value.clone() for name, value in average.state_dict().items()}
    seen = []

    def stop(*arguments: Any, **options: Any) -> None:
        seen.append(arguments)
        if len(seen) == 2:
            raise KeyboardInterrupt
        shrink(*arguments, **options)

    monkeypatch.setattr("lzero.surgery.narrow.shrink", stop)
    with pytest.raises(KeyboardInterrupt):
        lzero.compact(model, optimizer, copies=[average])
    assert equal(before[0], state_of(model, optimizer)) and gates.whole is None
    assert all(torch.equal(value, before[1][name]) for name, value in average.state_dict().items())
    monkeypatch.undo()
    assert lzero.compact(model, optimizer, copies=[average]) > 0
    assert all(p.shape == q.shape for p, q in zip(model.parameters(), average.parameters(), strict=True))


def test_mistakes_are_told() -> None:
    model, _ = gated()
    with pytest.raises(lzero.StructureError, match="no gates attached"):
        lzero.compact(Net())
    with pytest.raises(lzero.StructureError, match="expected optimizers behind the model"):
        lzero.compact(model, [torch.optim.SGD(model.parameters(), 0.1)])  # type: ignore[arg-type]
    with pytest.raises(lzero.StructureError, match="wrap the model anew"):
        lzero.compact(nn.DataParallel(model))
    other, _ = gated(seed=1)
    lzero.compact(other)
    with pytest.raises(lzero.StructureError, match="pass a copy to every compact"):
        lzero.compact(model, copies=[other])


@pytest.mark.skipif(not torch.distributed.is_available(), reason="no torch.distributed")
def test_processes_stay_alike_where_each_wraps_its_model_anew(tmp_path: Any) -> None:
    one, two = run(tmp_path, shared_training)
    weights = [name for name in one if "running" not in name]
    assert len(weights) > 10 and all(torch.equal(one[name], two[name]) for name in weights)
    assert one["lzero.left"].numel() < 26


def test_of_groups_that_open_in_steps_whole_steps_leave() -> None:
    model, gates = gated(round_to=4)
    closed = {name: int((gates[name] < 0).sum()) for name in gates.slices}
    sizes = dict(zip(gates.slices, gates.sizes, strict=True))
    lzero.compact(model)
    for name, size in zip(gates.slices, gates.sizes, strict=True):
        open_ = sizes[name] - closed[name]
        assert size == min(-(-open_ // 4) * 4, sizes[name]) and gates.plan.steps[name] == 4
    assert sum(gates.sizes) < sum(sizes.values()) and gates.masks.stepped
    other, theirs = gated(round_to=4)
    other.load_state_dict(model.state_dict())
    assert theirs.sizes == gates.sizes and theirs.masks.stepped == gates.masks.stepped


def test_of_every_group_the_likeliest_closed_gates_stay_in_reserve() -> None:
    _, gates = gated()
    with torch.no_grad():
        gates.log_alpha[:] = 2.0
        for name, where in gates.slices.items():
            gates.log_alpha[where.start + 2 : where.stop] = torch.linspace(-9, -8, where.stop - where.start - 2)
            assert int((~gates.open_mask()[where]).sum()) == len(gates[name]) - 2
    for share, counts in ((0.0, (0, 0, 0)), (1e-6, (1, 1, 1)), (0.25, (3, 2, 3)), (1.0, (7, 5, 8))):
        stay = gates_that_stay(gates, 0.05, share)
        for where, count in zip(gates.slices.values(), counts, strict=True):
            assert stay[where].nonzero().flatten().tolist()[:2] == [0, 1]
            size = where.stop - where.start
            assert stay[where].nonzero().flatten().tolist()[2:] == list(range(size - count, size))
    gates.hold(gates.open_mask())
    assert int(gates_that_stay(gates, 0.05, 1.0).sum()) == 6

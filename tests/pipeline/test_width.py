"""Training with the width of a residual stream gated: budgets, resuming, checkpointing, compiling, processes."""

from __future__ import annotations

import copy
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from streams import Gpt, close_some
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import lzero
from lzero.cost import Cost

LENGTH, BATCH = 12, 8


def letters() -> Tensor:
    """The language reference, in seventeen letters."""
    text = "".join(topics[name] for name in sorted(topics)[:4])
    return torch.tensor([ord(letter) % 17 for letter in text])


def batches(steps: int) -> list[tuple[Tensor, Tensor]]:
    data = letters()
    drawn = data[torch.randint(len(data) - LENGTH - 1, (steps, BATCH, 1)) + torch.arange(LENGTH + 1)]
    return [(batch[:, :-1], batch[:, 1:]) for batch in drawn]


def loss_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def train(model: nn.Module, solver: lzero.Solver, optimizer: torch.optim.Optimizer, data: Any) -> list[float]:
    losses = []
    model.train()
    for x, y in data:
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        solver.step()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def started(steps: int, density: float = 0.3) -> tuple[nn.Module, lzero.Solver, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Gpt()
    gates = lzero.attach_gates(model, (torch.zeros(2, LENGTH, dtype=torch.long),), granularity="width")
    solver = lzero.Solver(gates, target_density=density, total_steps=steps)
    return model, solver, torch.optim.Adam(model.parameters(), lr=3e-3)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_a_training_to_thirty_percent_ends_below_its_budget_and_within_one_unit() -> None:
    steps = 150
    model, solver, optimizer = started(steps)
    data = batches(steps)
    losses = train(model, solver, optimizer, data)
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    result = lzero.purge(model)
    gates = lzero.gates_of(model)
    assert gates is not None
    total = gates.plan.parameters
    shipped = sum(parameter.numel() for parameter in result.model.parameters())
    cost, open_ = Cost(gates, "params"), gates.open_mask()
    unit = float(cost.gradient(open_.double(), 0)[~open_].max())  # the largest that could have been opened
    assert 0.3 * total - unit <= shipped <= 0.3 * total
    (stream,) = [group for group in gates.plan if group.norms]
    assert 0 < int(result.kept[stream.name].sum()) < stream.size
    fresh = torch.randint(17, (3, 7))
    with torch.no_grad():
        torch.testing.assert_close(result.model(fresh), model.eval()(fresh), rtol=1e-4, atol=1e-4)


def test_a_training_is_resumed_to_the_bit() -> None:
    data = batches(20)
    whole, solver, optimizer = started(20)
    torch.manual_seed(1)
    train(whole, solver, optimizer, data[:10])
    state = copy.deepcopy((whole.state_dict(), optimizer.state_dict(), torch.get_rng_state()))
    train(whole, solver, optimizer, data[10:])
    again, solver, optimizer = started(20)
    again.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    torch.set_rng_state(state[2])
    train(again, solver, optimizer, data[10:])
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_plain_checkpoint_loads_into_the_gated_model() -> None:
    model, _, _ = started(10)
    torch.manual_seed(3)
    plain, x = Gpt(), torch.randint(17, (2, 9))
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(model.eval()(x), plain.eval()(x), rtol=1e-4, atol=1e-5)


def gated_gradients(model: nn.Module, x: Tensor, y: Tensor, seed: int = 5) -> list[Tensor]:
    gates = lzero.gates_of(model)
    assert gates is not None
    torch.manual_seed(seed)
    loss = loss_of(model, x, y)
    return list(torch.autograd.grad(loss, [gates.log_alpha, *model.parameters()]))


class Checkpointed(nn.Module):
    """One of the two ways of activation checkpointing around every norm."""

    def __init__(self, norm: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.norm, self._reentrant = norm, reentrant

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.norm, x, use_reentrant=self._reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_gives_the_same_gradients(reentrant: bool) -> None:
    model, _, _ = started(10)
    model.train()
    (x, y), *_ = batches(1)
    expected = gated_gradients(model, x, y)
    for layer in model.blocks.layers:  # type: ignore[union-attr]
        layer.norm1 = Checkpointed(layer.norm1, reentrant)
        layer.norm2 = Checkpointed(layer.norm2, reentrant)
    for _ in range(2):
        if reentrant:  # torch.autograd.grad is not for it
            torch.manual_seed(5)
            gates = lzero.gates_of(model)
            assert gates is not None
            model.zero_grad()
            gates.log_alpha.grad = None
            loss_of(model, x, y).backward()
            found = [gates.log_alpha.grad, *(parameter.grad for parameter in model.parameters())]
        else:
            found = gated_gradients(model, x, y)
        for one, two in zip(expected, found, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_and_in_low_precision(dtype: torch.dtype) -> None:
    model, _, _ = started(10)
    close_some(lzero.gates_of(model), 0.4, 1)  # type: ignore[arg-type]
    model.eval()
    x = torch.randint(17, (2, 9))
    with torch.no_grad():
        full = model(x)
        with torch.autocast("cpu", dtype):
            cast = model(x)
        half = model.to(dtype)(x)
    assert half.dtype is dtype
    for found in (cast, half):
        assert (found.float() - full).norm() < 0.05 * full.norm()


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_a_model_in_bfloat16_is_gated_and_purged() -> None:
    torch.manual_seed(0)
    model = Gpt().bfloat16().eval()
    gates = lzero.attach_gates(model, (torch.zeros(2, LENGTH, dtype=torch.long),), granularity="width")
    close_some(gates, 0.5, 1)
    small, x = lzero.purge(model).model, torch.randint(17, (3, 7))
    with torch.no_grad():
        assert (small(x).float() - model(x).float()).norm() < 0.05 * model(x).float().norm()


@pytest.mark.slow
def test_compiled_it_gives_the_gradients_of_the_eager_model() -> None:
    model, _, _ = started(10)
    model.train()
    (x, y), *_ = batches(1)
    gates = lzero.gates_of(model)
    assert gates is not None
    torch.manual_seed(7)
    z = torch.rand(len(gates)).sub(0.3).clamp(0, 1)
    compiled = torch.compile(model, backend="aot_eager")
    results = []
    for forward in (model, compiled):
        with gates.fixed(z):
            results.append(torch.autograd.grad(loss_of(forward, x, y), list(model.parameters())))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    model.eval()
    for seed in (1, 2):  # other gates, and the compiled model sees them
        close_some(gates, 0.5, seed)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model, solver, optimizer = started(12)
    parallel = DistributedDataParallel(model)
    torch.manual_seed(1 + rank)
    train(parallel, solver, optimizer, batches(12))
    torch.save(model.state_dict(), f"{folder}/{rank}.pt")
    del parallel
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_stay_alike(tmp_path: Any) -> None:
    multiprocessing.spawn(process, (str(tmp_path),), 2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)

"""Purging sharded models: in one call on all processes, what a model in one place gives, to the bit."""

import copy

import pytest
import torch
from processes import PROCESSES, run
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import lzero
from lzero.errors import StructureError
from lzero.integrations import fsdp

STEPS = 4


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3))


def other_network():
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 17), nn.ReLU(), nn.Linear(17, 3))


def shard(model, way):
    """``model`` as ``way`` spreads it over the processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        FullyShardedDataParallel,
        MixedPrecisionPolicy,
        fully_shard,
    )

    if way == "ddp":
        return DistributedDataParallel(model)
    if way in ("fsdp1", "fsdp1 flat"):
        return FullyShardedDataParallel(model, use_orig_params=way == "fsdp1", device_id=torch.device("cpu"))
    options = {"mesh": init_device_mesh("cpu", (PROCESSES,))}
    if way == "mixed precision":
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    if way == "offload":
        options["offload_policy"] = CPUOffloadPolicy(pin_memory=False)
    for layer in (model[0], model[2]):
        fully_shard(layer, **options)
    return fully_shard(model, **options)


def step(model, rank, number):
    """One backward on this process's own batch."""
    torch.manual_seed(100 * rank + number)
    x, y = torch.randn(16, 8), torch.randint(3, (16,))
    F.cross_entropy(model(x).float(), y).backward()


def trained(rank, way):
    """A model that was trained as ``way`` says, its gates, and the log_alpha after every step."""
    model = network()
    gates = lzero.attach_gates(model, torch.zeros(2, 8))
    with torch.no_grad():
        gates.log_alpha.uniform_(-2, 2, generator=torch.Generator().manual_seed(5))
    wrapped = shard(model, way)
    solver = lzero.Solver(gates, 0.5, total_steps=200)
    optimizer = torch.optim.Adam(wrapped.parameters(), 1e-3)
    seen = []
    for number in range(STEPS):
        optimizer.zero_grad()
        step(wrapped, rank, number)
        solver.step()
        optimizer.step()
        seen.append(gates.log_alpha.detach().clone())
    return wrapped, gates, torch.stack(seen)


def purged(rank, way, ranks):
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    model, gates, seen = trained(rank, way)
    found = {"log_alpha": seen, "ledger": {name: tensor.clone() for name, tensor in gates.ledger.items()}}
    for who in ranks:
        result = fsdp.purge(model, network, rank=who)
        assert (result is not None) == (who in (None, rank))
        if result is not None:
            found[who] = result.model.state_dict(), dict(result.kept), result.certificate
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    plain = network(seed=1)
    lzero.attach_gates(plain, torch.zeros(2, 8))
    plain.load_state_dict(state)
    result = lzero.purge(plain)
    found["own"] = result.model.state_dict(), dict(result.kept), result.certificate
    if way == "ddp":
        result = lzero.purge(model)
        found["wrapped"] = result.model.state_dict(), dict(result.kept), result.certificate
    step(model, rank, STEPS)  # it trains on
    return found


def same(one, two):
    assert all(one[part].keys() == two[part].keys() for part in (0, 1))
    assert all(torch.equal(value, two[part][name]) for part in (0, 1) for name, value in one[part].items())
    assert one[2] == two[2]


WAYS = ["parts", "mixed precision", "offload", "fsdp1", "fsdp1 flat", "ddp"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_a_sharded_model_purges_as_a_plain_one_with_its_state_to_the_bit(tmp_path, way):
    first, second = run(tmp_path, purged, way=way, ranks=(0, 1, None))
    assert torch.equal(first["log_alpha"], second["log_alpha"])  # the processes agree at every step
    assert all(torch.equal(tensor, second["ledger"][name]) for name, tensor in first["ledger"].items())
    assert 0 not in second and 1 not in first
    for result in (first[0], second[1], first[None], second[None], second["own"]):
        same(first["own"], result)
    if way == "ddp":
        same(first["own"], second["wrapped"])
    assert 0 <= 0.5 - first["own"][2].deployed["params"] < 0.06


def failing(rank):
    model, _, _ = trained(rank, "parts")
    said = []
    for build in (other_network, lambda: None, lambda: network() if rank else other_network()):
        for who in (0, None):
            try:
                fsdp.purge(model, build, rank=who)
            except StructureError as error:
                said.append(str(error))
            distributed.barrier()
    return said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_fails_on_one_process_is_raised_on_all(tmp_path):
    first, second = run(tmp_path, failing)
    assert len(first) == len(second) == 6
    assert "2.bias: the plan says (16,), the model has (17,)" in first[0]
    assert second[0].startswith("purge: process 0 could not: StructureError: 2.bias: the plan says")
    assert "expected it to return an nn.Module, found None" in first[2] and "found None" in second[3]


def accumulated(rank, way):
    """The gates' gradient of two batches without a step between, and of each alone."""
    model, gates, _ = trained(rank, way)
    found = []
    for numbers in ((7, 8), (7,), (8,)):
        gates.log_alpha.grad = None
        gates.history.step()
        for number in numbers:
            step(model, rank, number)
        found.append(gates.log_alpha.grad.clone())
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["parts", "offload", "fsdp1"])
def test_accumulation_over_batches_keeps_both_gradients_of_sharded_models(tmp_path, way):
    for both, one, two in run(tmp_path, accumulated, way=way):
        torch.testing.assert_close(both, one + two)


def gated():
    model = network()
    gates = lzero.attach_gates(model, torch.zeros(2, 8))
    with torch.no_grad():
        gates.log_alpha.uniform_(-2, 2, generator=torch.Generator().manual_seed(5))
    lzero.Solver(gates, 0.5, total_steps=200)
    return model


def test_without_processes_it_is_purge():
    model = gated()
    before = copy.deepcopy(model.state_dict())
    one, two = fsdp.purge(model, lambda: network(seed=3)), lzero.purge(model)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert one.certificate == two.certificate
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_model_that_was_cast_purges_in_its_dtype():
    model = gated().to(torch.bfloat16)
    one, two = fsdp.purge(model, network), lzero.purge(model)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 1}, "rank: expected one of 0 to 0, or None for all, found 1"),
        ({"rank": True}, "rank: expected one of 0 to 0"),
        ({"build_model": network()}, "build_model: expected a function that builds the network anew"),
        ({"verify": 3}, "verify"),
        ({"build_model": lambda: nn.Linear(2, 2)}, "the plan says"),
    ],
)
def test_arguments_are_looked_at(arguments, message):
    with pytest.raises(StructureError, match=message):
        fsdp.purge(gated(), **{"build_model": network, **arguments})


def test_a_model_without_gates_is_refused():
    with pytest.raises(StructureError, match="no gates attached"):
        fsdp.purge(network(), network)


def test_widths_are_rounded_as_where_the_gates_were_attached():
    model = network()
    gates = lzero.attach_gates(model, torch.rand(2, 8), round_to=8)
    gates.log_alpha.data.uniform_(-4, 0, generator=torch.Generator().manual_seed(0))
    kept = fsdp.purge(model, network, settle=False).kept
    assert all(int(mask.sum()) % 8 == 0 for mask in kept.values()) and all(
        torch.equal(mask, lzero.purge(model, settle=False).kept[name]) for name, mask in kept.items()
    )

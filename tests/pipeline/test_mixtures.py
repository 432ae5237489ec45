"""Training with experts gated: budgets, compiling, checkpointing; and mixtures of transformers, closed and shipped."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mixtures import BUILD
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import lzero
from lzero.cost import Cost
from lzero.gates.gates import Gates
from lzero.host.stand_ins import exact_ops

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
TEXT = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 32, "pad_token_id": 0}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_experts_per_tok": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "mixtral": ("Mixtral", {"intermediate_size": 12, "num_local_experts": 5, "sliding_window": None}, "gate", "top_k"),
    "gpt_oss": ("GptOss", {"intermediate_size": 8, "num_local_experts": 5, "head_dim": 8}, "router", "top_k"),
    "olmoe": ("Olmoe", {"intermediate_size": 8, "num_experts": 5}, "gate", "top_k"),
    "qwen2_moe": (
        "Qwen2Moe",
        {"intermediate_size": 12, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8, "num_experts": 5},
        "gate",
        "top_k",
    ),
}


def started(name: str, density: float, steps: int, measure: Any = "params") -> tuple[nn.Module, lzero.Solver, Any]:
    torch.manual_seed(0)
    model = BUILD[name]()
    gates = lzero.attach_gates(model, torch.randn(20, 4), granularity="experts")
    solver = lzero.Solver(gates, density, total_steps=steps, measure=measure)
    return model, solver, torch.optim.Adam(model.parameters(), lr=5e-3)


def train(model: nn.Module, solver: lzero.Solver, optimizer: Any, steps: int) -> list[float]:
    x = torch.randn(256, 4)
    y, losses = (x[:, :3] * x[:, 1:]).tanh(), []
    model.train()
    for _ in range(steps):
        batch = torch.randint(256, (32,))
        optimizer.zero_grad()
        loss = F.mse_loss(model(x[batch]), y[batch])
        loss.backward()
        solver.step()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(
    ("name", "density", "measure"),
    [("both", 0.4, "params"), ("stacked, top 1", 0.35, "params"), ("listed, all of them", 0.5, "macs")],
)
def test_a_training_ends_below_its_budget_and_within_one_unit(name: str, density: float, measure: Any) -> None:
    steps = 120
    model, solver, optimizer = started(name, density, steps, measure)
    losses = train(model, solver, optimizer, steps)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    result, gates = lzero.purge(model), solver.gates
    cost, open_ = Cost(gates, measure), gates.open_mask()
    shipped, asked = float(cost.value(open_)), density * float(cost.total)
    prices = cost.gradient(open_.double(), 0)[~open_]
    assert asked - float(prices[prices > 0].min()) < shipped <= asked
    if measure == "params":
        assert shipped == sum(parameter.numel() for parameter in result.model.parameters())
    experts = [group for group in gates.plan if group.kind == "expert"]
    assert all(int(result.kept[group.name].sum()) >= 1 for group in experts)
    fresh = torch.randn(2, 7, 4)
    torch.testing.assert_close(result.model(fresh), model.eval()(fresh), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed_layers_see_the_same_experts(reentrant: bool) -> None:
    model, _, _ = started("both", 0.5, 10)
    gates = lzero.gates_of(model)
    assert gates is not None
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates)))

    class Again(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.layer, x, use_reentrant=reentrant)  # type: ignore[no-any-return]

    found = []
    for wrapped in (False, True):
        if wrapped:
            model.layers = nn.ModuleList(Again(layer) for layer in model.layers)  # type: ignore[union-attr,arg-type]
        gates.log_alpha.grad = None
        torch.manual_seed(1)
        model.train()(torch.randn(20, 4, generator=torch.Generator().manual_seed(0))).square().sum().backward()
        found.append(gates.log_alpha.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["listed, top 2", "stacked, top 2"])
def test_a_compiled_mixture_gives_what_it_gives(name: str) -> None:
    torch._dynamo.reset()
    model, solver, _ = started(name, 0.5, 10)
    x, z = torch.randn(30, 4), torch.rand(len(solver.gates))
    z[::3] = 0
    compiled = torch.compile(model, backend="eager")
    with solver.gates.fixed(z):
        torch.testing.assert_close(compiled(x), model(x))
    torch.testing.assert_close(compiled.eval()(x), model.eval()(x))


def family(name: str, **more: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    prefix, sizes, *_ = FAMILIES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}Config")(**TEXT, **sizes, **more)
    model: nn.Module = getattr(transformers, f"{prefix}ForCausalLM")(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def close_some(gates: Gates, seed: int) -> None:
    with torch.no_grad():
        drawn = torch.randn(len(gates), generator=torch.Generator().manual_seed(seed))
        gates.log_alpha.copy_(4 * drawn.to(gates.log_alpha) - seed)


@pytest.mark.parametrize(
    "name", ["mixtral", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gpt_oss", "olmoe", "qwen2_moe"))]
)
def test_experts_of_transformers_are_closed_cut_and_loaded(name: str, tmp_path: Any) -> None:
    model = family(name)
    ids = torch.randint(1, 40, (2, 7))
    gates = lzero.attach_gates(model, {"input_ids": ids}, granularity="experts")
    experts = [group for group in gates.plan if group.kind == "expert"]
    _, _, router, top = FAMILIES[name]
    assert [group.name for group in experts] == [f"model.layers.{n}.mlp.{router}" for n in (0, 1)]
    for seed in range(3):
        close_some(gates, seed)
        if seed == 2:
            gates[experts[0].name].detach().fill_(-9.0)
        result = lzero.purge(model)
        small: Any = result.model
        assert sum(p.numel() for p in small.parameters()) == int(Cost(gates).value(gates.open_mask()))
        fresh = torch.randint(1, 40, (3, 11))
        with torch.no_grad(), exact_ops(model):
            found = small(input_ids=fresh).logits
            torch.testing.assert_close(found, model.eval()(input_ids=fresh).logits, rtol=1e-11, atol=1e-11)
        for layer, group in zip(small.model.layers, experts, strict=True):
            left = int(result.kept[group.name].sum())
            assert layer.mlp.experts.num_experts == left == len(layer.mlp.experts.down_proj)
            assert getattr(getattr(layer.mlp, router), top) == min(2, left)
        lzero.save_purged(result, tmp_path / str(seed))
        again: Any = lzero.load_purged(family(name), tmp_path / str(seed))
        with torch.no_grad(), exact_ops(again):
            assert torch.equal(again(input_ids=fresh).logits, found)
    assert int(result.kept[experts[0].name].sum()) == 1


def test_equally_many_experts_in_all_layers_are_a_stock_model(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    model: Any = family("mixtral").float()
    ids = torch.randint(1, 40, (2, 7))
    gates = lzero.attach_gates(model, {"input_ids": ids}, granularity="experts")
    gates.log_alpha.detach().fill_(9.0)
    for group in gates.plan:
        if group.router is not None:
            gates[group.name].detach()[[0, 2]] = -9.0
    small: Any = lzero.purge(model).model.eval()
    assert small.config.num_local_experts == 3 and not hasattr(small.config, "lzero")
    small.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    asked = {"input_ids": ids, "labels": ids, "output_router_logits": True}
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, small(input_ids=ids).logits)
        assert bool(again(**asked).aux_loss.isfinite())  # a loss that balances the experts that are left


def test_logits_of_a_router_that_are_results_are_refused() -> None:
    model = family("mixtral", output_router_logits=True)
    plan = lzero.discover(model, {"input_ids": torch.randint(1, 40, (2, 7))}, granularity="experts")
    assert not [group for group in plan if group.kind == "expert"]
    reasons = [r.reason for r in plan.refusals if r.name == "model.layers.0.mlp.gate"]
    assert any("a loss that balances the experts counts" in reason for reason in reasons), reasons


def test_experts_cannot_be_drawn_for_each_example() -> None:
    model = BUILD["listed, all of them"]()
    plan = lzero.discover(model, torch.randn(20, 4), granularity="experts")
    with pytest.raises(lzero.StructureError, match=r"layers\.0\.gate chooses among the experts of layers.0.gate"):
        lzero.attach_gates(copy.deepcopy(model), plan, per_example=True)

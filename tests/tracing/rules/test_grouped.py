"""Products in groups: what is contracted is read, what the offsets cut stays whole, and rows stay aligned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import sizes
from torch import Tensor, nn
from torch.nn import functional as F
from tracing.rules.follow import RULES, Case, check_every_op

import lzero
from lzero.host.run import run

pytestmark = pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="torch has no grouped_mm")

ENDS = torch.tensor([1, 3], dtype=torch.int32)
WIDE = list(range(1, 17))
FIRST, SECOND = WIDE[:8], WIDE[8:]
WEIGHT = list(range(17, 17 + 2 + 16 + 8))  # labels of a stack [2, 16, 8]
EXPERTS, ROWS, COLUMNS = WEIGHT[:2], WEIGHT[2:18], WEIGHT[18:]

CASES = {
    "rows by a stack": Case(
        lambda x, w: F.grouped_mm(x, w, offs=ENDS), [{1: COLUMNS}], EXPERTS, (3, 16), 1, {"w": (2, 16, 8)},
        read=ROWS, macs={"w": 3 * 16 * 8},
        ties=[{*FIRST, *ROWS[:8]}, {*SECOND, *ROWS[8:]}, {*COLUMNS}],
    ),
    "rows by a transposed stack": Case(  # [2, 8, 16], whose columns need no alignment
        lambda x, w: F.grouped_mm(x, w.mT, offs=ENDS), [{1: WEIGHT[2:10]}], EXPERTS, (3, 16), 1, {"w": (2, 8, 16)},
        read=WEIGHT[10:], macs={"w": 3 * 16 * 8}, ties=[{*FIRST, *WEIGHT[10:18]}, {*SECOND, *WEIGHT[18:]}],
    ),
    "units as rows": Case(lambda x: F.grouped_mm(x, torch.ones(2, 16, 8), offs=ENDS), [{0: [1, 2, 3]}], [1, 2, 3],
                          (3, 16), 0),
    "a stack by columns": Case(
        lambda x, w: F.grouped_mm(w.mT, x, offs=torch.tensor([4, 16], dtype=torch.int32)), [{0: COLUMNS, 1: WIDE}],
        [*WIDE, *EXPERTS, *ROWS], (16, 16), 1, {"w": (2, 16, 8)}, read=ROWS, macs={"w": 16 * 16 * 8},
    ),
    "stretches of what is contracted": Case(
        lambda x: F.grouped_mm(x.t(), torch.ones(3, 8), offs=ENDS), [{1: WIDE}], [], (3, 16), 1,
        ties=[{*FIRST}, {*SECOND}],
    ),
    "units that are contracted in stretches": Case(
        lambda x: F.grouped_mm(torch.ones(16, 16).t(), x, offs=torch.tensor([4, 16], dtype=torch.int32)), [{}],
        WIDE, (16, 8), 0,
    ),
    "a stack by a stack": Case(lambda x, w: F.grouped_mm(x, w), [{2: COLUMNS}], EXPERTS, (2, 4, 16), 2,
                               {"w": (2, 16, 8)}, read=ROWS, macs={"w": 2 * 4 * 16 * 8}),
    "without a parameter": Case(lambda x: F.grouped_mm(x, torch.ones(2, 16, 8), offs=ENDS), [{}], WIDE, (3, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_grouped(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("grouped", CASES.values(), elsewhere=["transformers.grouped_mm_fallback"],
                   absent=["transformers.grouped_mm_fallback"])  # fmt: skip


def test_what_transformers_falls_back_to_has_the_same_rule() -> None:
    assert RULES["transformers.grouped_mm_fallback"] == RULES["aten._grouped_mm"]
    pytest.importorskip("transformers.integrations.moe")
    fall_back = torch.ops.transformers.grouped_mm_fallback
    Case(
        lambda x, w: fall_back(x, w, ENDS), [{1: COLUMNS}], EXPERTS, (3, 16), 1, {"w": (2, 16, 8)},
        read=ROWS, macs={"w": 3 * 16 * 8}, ties=[{*FIRST, *ROWS[:8]}, {*SECOND, *ROWS[8:]}, {*COLUMNS}],
    ).check()  # fmt: skip


class Experts(nn.Module):
    """Tokens [n, 16], each to one of four experts with ``inner`` hidden units."""

    def __init__(self, inner: int = 32, *, plain: bool = False) -> None:
        super().__init__()
        self.router, self.plain = nn.Linear(16, 4), plain
        self.up = nn.Parameter(torch.randn(4, 16, inner) / 4)
        self.down = nn.Parameter(torch.randn(4, 16, inner) / 4)

    def forward(self, x: Tensor) -> Tensor:
        weight, index = self.router(x).max(-1)
        order = index.argsort()
        ends = torch.bincount(index, minlength=4).cumsum(0).int()
        y = F.grouped_mm(x[order], self.up, offs=ends).relu()
        y = F.grouped_mm(y, self.down.mT, offs=ends)
        return torch.zeros_like(y).index_copy(0, order, y) * weight.sigmoid()[:, None]


def test_hidden_units_of_experts_leave_in_aligned_blocks_and_what_is_left_still_runs() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 16), Experts(), nn.Linear(16, 2)), torch.randn(40, 6)
    gates = lzero.attach_gates(model, x)
    assert sizes(gates.plan) == {"0": 2, "1": 4, "1#2": 16}
    with torch.no_grad():
        gates.log_alpha.fill_(-9.0)
        for group in gates.split(gates.log_alpha).values():
            group[0] = 1.0
    new = torch.randn(70, 6)
    small = lzero.purge(model, settle=False).model
    assert small[1].up.shape == (4, 8, 8) and small[1].down.shape == (4, 1, 8)
    torch.testing.assert_close(small.eval()(new), model.eval()(new), rtol=1e-4, atol=1e-5)
    model = model.double()
    precise = lzero.purge(model, settle=False).model
    torch.testing.assert_close(run(precise, new.double()), run(model, new.double()), rtol=1e-9, atol=1e-12)


def test_experts_whose_rows_are_one_block_are_left() -> None:
    plan = lzero.discover(nn.Sequential(nn.Linear(6, 16), Experts(8)), torch.randn(40, 6))
    assert sizes(plan) == {"0": 2}


MIXTURES: dict[str, dict[str, Any]] = {
    "Mixtral": {"num_local_experts": 4, "intermediate_size": 32},
    "Qwen2Moe": {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 24},
    "Qwen3Moe": {"num_experts": 4, "moe_intermediate_size": 32, "head_dim": 8},
    "GptOss": {"num_local_experts": 4, "intermediate_size": 32, "head_dim": 8},  # gates and values in turn
}


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_of_transformers(name: str) -> None:
    library = pytest.importorskip("transformers")
    config = getattr(library, f"{name}Config")(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        num_experts_per_tok=2, pad_token_id=0, **MIXTURES[name],
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(library, f"{name}ForCausalLM")(config)
    gates = lzero.attach_gates(model, {"input_ids": torch.randint(0, 50, (2, 7))})
    assert 4 in sizes(gates.plan).values() and gates.plan.reachable > 0.7 * gates.plan.parameters
    with torch.no_grad():
        for group in gates.split(gates.log_alpha).values():
            group[1:] = -9.0
    model = model.double()
    small = lzero.purge(model, settle=False).model
    new = {"input_ids": torch.randint(0, 50, (3, 9))}
    torch.testing.assert_close(run(small, new), run(model, new), rtol=1e-9, atol=1e-9)
    assert sum(p.numel() for p in small.parameters()) < 0.7 * gates.plan.parameters

"""What is counted by a twin is what discovery says of the model itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("transformers")
import floor
import transformers

import lzero

IDS = {"input_ids": torch.randint(0, 50, (1, 8))}


def mixtral(**sizes: Any) -> torch.nn.Module:
    heads = {"head_dim": 8, "num_key_value_heads": sizes["num_attention_heads"] // 2}
    more = {"num_local_experts": 3, "num_experts_per_tok": 2, "use_cache": False}
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**sizes, **heads, **more))


@pytest.mark.parametrize("granularity", ["unit", "width"])
def test_a_model_is_counted_as_its_twin_is(granularity: str) -> None:
    small = {"hidden_size": 16, "intermediate_size": 16, "vocab_size": 50, "num_hidden_layers": 2}
    large = {"hidden_size": 40, "intermediate_size": 24, "vocab_size": 70, "num_hidden_layers": 3}
    twin, model = mixtral(**small, num_attention_heads=4), mixtral(**large, num_attention_heads=8)
    expected = lzero.discover(model, IDS, granularity=granularity)
    found = floor.Counted(lzero.discover(twin, IDS, granularity=granularity), model)
    assert (found.parameters, found.reachable) == (expected.parameters, expected.reachable)
    for share in (0.0, 0.3, 0.5, 1.0):
        assert found.left(share) == expected.left(share)
    assert found.floor() == expected.floor() < 0.5


def test_a_dim_that_gates_own_in_part_is_refused() -> None:
    class Beside(torch.nn.Module):
        """Reads hidden units beside its input."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 8), torch.nn.Linear(11, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.cat([self.a(x).relu(), x], -1))

    model = Beside()
    plan = lzero.discover(model, torch.randn(2, 3))
    assert [group.size for group in plan] == [8]
    with pytest.raises(ValueError, match=r"b.weight: its dim 1 is owned in part"):
        floor.Counted(plan, model)

"""A small language model, trained with gates on heads and hidden units on a text that comes with Python, purged."""

from __future__ import annotations

from pydoc_data.topics import topics

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lzero

LENGTH, STEPS, DENSITY = 32, 150, 0.4


def text() -> torch.Tensor:
    """The language reference, one number from 0 to 127 a character."""
    letters = "".join(topics[name] for name in sorted(topics)[:20])
    return torch.tensor([min(ord(letter), 127) for letter in letters])


def gpt2() -> nn.Module:
    library = pytest.importorskip("transformers")
    options = {"bos_token_id": 0, "eos_token_id": 0, "use_cache": False, "n_positions": LENGTH}
    dropout = {"resid_pdrop": 0.1, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = library.GPT2Config(vocab_size=128, n_embd=48, n_layer=2, n_head=6, **options, **dropout)
    model: nn.Module = library.GPT2LMHeadModel(config)
    return model


def loss(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=batch[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@pytest.mark.slow
def test_gated_training_of_gpt2_ends_in_a_purged_model_with_the_same_loss() -> None:
    torch.manual_seed(0)
    data, model = text(), gpt2()
    plan = lzero.discover(model, {"input_ids": data[None, :8]})
    assert {group.size for group in plan.groups} == {6, 192}
    target = 1 - (1 - DENSITY) * plan.reachable / plan.parameters

    gates = lzero.attach_gates(model, plan)
    solver = lzero.Solver(gates, target_density=target, total_steps=STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    batches = data[torch.randint(len(data) - LENGTH, (STEPS + 1, 16, 1)) + torch.arange(LENGTH)]
    with torch.no_grad():
        before = float(loss(model.eval(), batches[-1]))
    model.train()
    for batch in batches[:-1]:
        optimizer.zero_grad()
        loss(model, batch).backward()
        solver.step()
        optimizer.step()

    result = lzero.purge(model)
    with torch.no_grad():
        dense = float(loss(model.eval(), batches[-1]))
        with gates.fixed(gates.evaluate(_open(gates, result))):
            gated = float(loss(model, batches[-1]))
        purged = float(loss(result.model.eval(), batches[-1]))
    assert purged == pytest.approx(gated, rel=1e-5)
    assert purged < 0.75 * before and dense < 0.75 * before
    assert 0 <= target - result.certificate.deployed["params"] < 0.02
    assert result.certificate.parameters == sum(p.numel() for p in result.model.parameters())


def _open(gates: lzero.Gates, result: lzero.PurgeResult) -> torch.Tensor:
    return torch.cat([result.kept[name] for name in gates.slices])

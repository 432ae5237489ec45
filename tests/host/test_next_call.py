"""The next call of a decoder: what purging makes of its keys and values is proved, not believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from decoders import IDS, decoder
from nets import reasons, sizes
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.host.copies import private_copy
from lzero.host.inputs import Arguments, ExampleInputs
from lzero.host.next_call import NextCall, last_step, taken_back, with_arguments, with_cache

X = torch.randn(2, 5, 12)


class Decoder(nn.Module):
    """Attention over all steps so far; ``read`` says how it takes the keys and values of the steps before."""

    def __init__(self, read: Callable[..., Tensor]) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(12, 24) for _ in range(3))
        self.o, self.read = nn.Linear(24, 12), read

    def forward(self, x: Tensor, past_key_values: Any = None) -> dict[str, Any]:
        q, k, v = (layer(x).view(*x.shape[:2], -1, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if past_key_values is not None:
            k, v = (self.read(before, now) for before, now in zip(past_key_values, (k, v), strict=True))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return {"logits": self.o(y.flatten(2)), "past_key_values": (k, v)}


def append(before: Tensor, now: Tensor) -> Tensor:
    return torch.cat([before, now], 2)


def literal(before: Tensor, now: Tensor) -> Tensor:
    return torch.cat([before.view(len(before), 6, -1, 4), now], 2)


def mean(before: Tensor, now: Tensor) -> Tensor:
    return torch.cat([before.mean(1, keepdim=True).expand_as(before), now], 2)


def first_head(before: Tensor, now: Tensor) -> Tensor:
    return torch.cat([before[:, :1].expand_as(before), now], 2)


def unread(before: Tensor, now: Tensor) -> Tensor:
    return now


def broken(before: Tensor, now: Tensor) -> Tensor:
    raise ValueError("only one call")


def test_heads_are_found_where_the_next_call_reads_what_is_left() -> None:
    assert sizes(lzero.discover(Decoder(append), X)) == {"q": 6}


class Cast(Decoder):
    """It casts a layer of its own, as routers do, and what that reads."""

    def __init__(self, read: Callable[..., Tensor]) -> None:
        super().__init__(read)
        self.router = nn.Linear(12, 12)

    def forward(self, x: Tensor, past_key_values: Any = None) -> dict[str, Any]:
        scores = self.router.float()(x.float()).to(x.dtype)
        return super().forward(x * scores, past_key_values)


def test_layers_that_a_decoder_casts_are_in_double_in_its_next_call_too() -> None:
    plan = lzero.discover(Cast(append), X)
    assert sizes(plan) == sizes(lzero.discover(Decoder(append), X)) != {}


@pytest.mark.parametrize("read", [literal, mean, first_head])
def test_a_next_call_that_needs_all_heads_is_caught(read: Callable[..., Tensor]) -> None:
    assert not lzero.discover(Decoder(read), X).groups


@pytest.mark.parametrize("read", [unread, broken])
def test_what_no_next_call_reads_is_an_output(read: Callable[..., Tensor]) -> None:
    plan = lzero.discover(Decoder(read), X)
    assert not plan.groups and "it is kept for a next call" in reasons(plan)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bart", "mamba"])
def test_a_purged_decoder_goes_on_from_its_own_cache_as_the_gated_one_does(name: str) -> None:
    model = decoder(name).double().eval()
    inputs = IDS | ({"decoder_input_ids": IDS["input_ids"][:, 1:]} if name in ("t5", "bart") else {})
    gates = lzero.attach_gates(model, inputs)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates), generator=torch.Generator().manual_seed(0)) * 3)
        for group in gates.split(gates.log_alpha).values():
            group[0] = 1.0
    small = lzero.purge(model, settle=False).model.eval()
    new = {key: torch.randint(0, 50, (3, 4), generator=torch.Generator().manual_seed(1)) for key in inputs}
    logits = []
    for one in (model, small):
        first = one(**new, use_cache=True)
        kept = taken_back(first, one)
        step = {key: ids if key == "input_ids" and len(new) > 1 else ids[:, :1] for key, ids in new.items()}
        second = one(**step, **kept, use_cache=True)
        logits.append((first.logits, second.logits))
        assert not torch.allclose(second.logits, one(**step).logits)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    for gated, purged in zip(*logits, strict=True):
        torch.testing.assert_close(purged, gated, rtol=1e-9, atol=1e-9)


def test_the_next_call_of_a_decoder_is_one_step_and_that_of_a_full_one_there_is_none() -> None:
    model = private_copy(decoder("gpt2"))
    asked = with_cache(ExampleInputs(IDS))
    assert NextCall.find(model, asked) == NextCall(step=True)
    assert NextCall.find(model, ExampleInputs(IDS)) is None  # nothing is kept
    full = with_cache(ExampleInputs({"input_ids": torch.zeros(2, 16, dtype=torch.long)}))
    assert NextCall.find(model, full) is None  # there are 16 positions


def test_arguments_join_inputs_of_every_form() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    for value in (one, (one,), [one]):
        made = with_arguments(ExampleInputs(value), {"past": two}).value
        assert isinstance(made, Arguments) and made.args == (one,) and made.kwargs == {"past": two}
    made = with_arguments(ExampleInputs({"x": one}), {"past": two}).value
    assert isinstance(made, Arguments) and made.args == () and made.kwargs == {"x": one, "past": two}
    made = with_arguments(ExampleInputs(Arguments((one,), {"x": 1})), {"past": two}).value
    assert isinstance(made, Arguments) and made.args == (one,) and made.kwargs == {"x": 1, "past": two}
    said = ExampleInputs({"x": one, "use_cache": False})
    assert with_cache(said) is said


def test_the_last_step_is_that_of_what_is_read_step_by_step() -> None:
    ids, features, mask = torch.zeros(2, 5).long(), torch.zeros(2, 5, 3), torch.ones(2, 5).long()
    image = torch.zeros(2, 3, 8, 8)
    named = last_step(ExampleInputs({"input_ids": ids, "attention_mask": mask, "image": image}))
    assert [tuple(t.shape) for t in named] == [(2, 1), (2, 5), (2, 3, 8, 8)]
    both = last_step(ExampleInputs({"input_ids": ids, "decoder_input_ids": ids}))
    assert [tuple(t.shape) for t in both] == [(2, 5), (2, 1)]
    assert [tuple(t.shape) for t in last_step(ExampleInputs((ids, features, mask.bool())))] == [
        (2, 1),
        (2, 1, 3),
        (2, 5),
    ]
    assert [tuple(t.shape) for t in last_step(ExampleInputs(Arguments((ids,), {"mask": mask})))] == [(2, 1), (2, 5)]

"""Keys and values that are kept for the next call are no results; the user's configuration is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from decoders import IDS, decoder
from nets import Net, reasons, sizes
from torch import Tensor, nn

import lzero
from lzero.host.cache import asks_for_cache, cached_tensors, kept_in, results_in, states_in, without_cache
from lzero.host.copies import private_copy


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_heads_of_a_decoder_are_gated_with_its_default_configuration(name: str) -> None:
    model = decoder(name)
    config, before = model.config, copy.deepcopy(vars(model.config))
    plan = lzero.discover(model, IDS)
    assert sorted(sizes(plan).values()) == [4, 4, 20, 20]
    assert model.config is config and vars(config) == before and config.use_cache is True
    assert model(**IDS).past_key_values is not None
    assert {g.name for g in lzero.discover(private_copy(model), IDS)} == {g.name for g in plan}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_heads_are_gated_where_the_inputs_ask_for_a_cache(name: str) -> None:
    model = decoder(name)
    asked, plain = (lzero.discover(model, {**IDS, "use_cache": on}) for on in (True, False))
    assert sizes(asked) == sizes(plain) and len(asked) == 4


WAYS: dict[str, tuple[Any, bool]] = {
    "an object": (lambda k, v: SimpleNamespace(past_key_values=((k, v),)), True),
    "a dict": (lambda k, v: {"past_key_values": ((k, v),)}, True),
    "tuples in the tuple": (lambda k, v: ((k, v),), False),
    "another name": (lambda k, v: {"cache": ((k, v),)}, False),
    "keys": (lambda k, v: {"keys": k, "values": v}, False),
    "keys beside the cache": (lambda k, v: {"keys": k, "past_key_values": (k, v)}, False),
}


@pytest.mark.parametrize("way", WAYS)
def test_keys_are_kept_by_the_names_of_a_cache_and_results_by_any_other(way: str) -> None:
    made, kept = WAYS[way]

    def forward(net: Any, x: Tensor) -> Any:
        k, v = net.k(x), net.v(x)
        return net.out(torch.tanh(k) * v), made(k, v)

    net = Net(forward, k=nn.Linear(5, 6), v=nn.Linear(5, 6), out=nn.Linear(6, 2))
    plan = lzero.discover(net, torch.randn(2, 5))
    assert list(sizes(plan).values()) == ([6] if kept else [])
    assert kept or "an output of the model" in reasons(plan)


def test_a_model_that_seems_to_return_keys_is_told_the_way_out() -> None:
    def forward(net: Any, x: Tensor) -> Any:
        k, v = net.k(x), net.v(x)
        return net.out(torch.tanh(k) * v), ((k, v),)

    net = Net(forward, k=nn.Linear(5, 6), v=nn.Linear(5, 6), out=nn.Linear(6, 2))
    plan = lzero.discover(net, torch.randn(2, 5))
    assert any("next call" in r.reason and "past_key_values" in r.advice for r in plan.refusals)
    assert "next call" not in reasons(lzero.discover(nn.Linear(5, 6), torch.randn(2, 5)))


class Recalling(nn.Module):
    def forward(self, x: Tensor, past_key_values: Any = None, kv_cache: Any = None) -> Any:
        return x


def test_what_is_kept_and_what_is_a_result() -> None:
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    outputs = {"logits": one, "past_key_values": [two], "kv_cache": three}
    assert kept_in(outputs, Recalling()) == [("past_key_values", [two]), ("kv_cache", three)]
    assert list(results_in(outputs, Recalling())) == [one]
    assert kept_in(outputs, nn.Identity()) == [(None, [two])]  # by its name, although nothing takes it back
    assert [tensor is three for tensor in results_in(outputs, nn.Identity())] == [False, True]
    library = pytest.importorskip("transformers")
    cache = library.DynamicCache()
    assert kept_in((one, cache), Recalling()) == [("past_key_values", cache)]
    assert list(results_in((one, (two, three)), Recalling())) == [one, two, three]
    of_a_part = {"logits": one, "decoder_outputs": {"logits": two, "past_key_values": cache}}
    cache.update(three.view(1, 1, 1, 3), three.view(1, 1, 1, 3), 0)
    assert kept_in(of_a_part, Recalling()) == [("past_key_values", cache)]
    assert kept_in(of_a_part, nn.Identity()) == [(None, cache)]
    assert list(results_in(of_a_part, Recalling())) == [one, two]
    assert len(list(results_in(of_a_part, Recalling(), kept=True))) == 4


def test_a_model_is_asked_for_a_cache_where_its_configuration_does() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert not asks_for_cache(model)
    model.config = SimpleNamespace(use_cache=True)  # type: ignore[assignment]
    assert not asks_for_cache(model)  # its forward takes no such argument
    assert asks_for_cache(decoder("gpt2")) and not asks_for_cache(private_copy(decoder("gpt2")))


def test_what_is_returned_beside_each_other_is_no_cache() -> None:
    class Cache:
        def __init__(self, held: Tensor) -> None:
            self.keys = held

    one, two = torch.zeros(2), torch.zeros(3)
    assert cached_tensors(one) == cached_tensors((one, two)) == cached_tensors({"logits": one}) == set()
    assert cached_tensors({"logits": one, "past_key_values": [two]}) == {id(two)}
    assert cached_tensors((one, Cache(two))) == cached_tensors((one, ((two,),))) == {id(two)}
    assert cached_tensors((one, (one, two))) == set()  # the state of a recurrent layer
    key = torch.zeros(1, 1, 1, 1)
    assert cached_tensors((one, (key, key))) == {id(key)} and cached_tensors((one, (key, key, key))) == set()


@dataclass(frozen=True)
class Settings:
    use_cache: bool = True
    part: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Settings:
        return self


def test_configurations_are_copied_once_and_only_where_they_ask_for_a_cache() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    whole, other = Settings(False, Settings()), Settings(False)
    model.config, model[0].config, model[1].cfg = whole, whole.part, other  # type: ignore[assignment]
    model[1].config = {"use_cache": True, "width": 2}  # type: ignore[assignment]
    given = model[1].config
    without_cache(model)
    assert whole.part.use_cache and given["use_cache"] is True
    assert model.config is not whole and model.config.part is model[0].config
    assert model[0].config.use_cache is False and model[1].cfg is other
    assert model[1].config == {"use_cache": False, "width": 2}


def test_settings_that_are_shared_by_copies_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.config = Settings()  # type: ignore[assignment]
    assert private_copy(model).config.use_cache is False  # type: ignore[union-attr]
    assert model.config.use_cache is True  # type: ignore[union-attr]


class Configured(nn.Module):
    """A model that reads the switch of its configuration itself, whatever its forward takes."""

    def __init__(self, asked: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.config, self._asked = SimpleNamespace(use_cache=True), asked
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, **named: Any) -> Any:
        h = self.a(x).relu()
        use_cache = named.get("use_cache", self.config.use_cache)
        made = self.b(self._asked(h) if use_cache else h)
        return {"logits": made, "past_key_values": h} if use_cache else {"logits": made}


@pytest.mark.parametrize(
    "asked", [lambda h: h + h.flip(-1), lambda h: h / h.shape[-1], lambda h: h.softmax(-1)], ids=["flip", "size", "mix"]
)
def test_a_switch_that_changes_results_is_no_switch_of_a_cache(asked: Callable[[Tensor], Tensor]) -> None:
    plan = lzero.discover(Configured(asked), torch.randn(2, 5))
    assert not plan.groups
    assert any("with use_cache off, and with it on" in refusal.reason for refusal in plan.refusals)
    off = Configured(asked)
    off.config.use_cache = False
    assert [group.size for group in lzero.discover(off, torch.randn(2, 5))] == [8]
    assert [group.size for group in lzero.discover(Configured(lambda h: h), torch.randn(2, 5))] == [8]


class Encoder(nn.Module):
    """Returns as much by ``names`` as an encoder and its decoder do."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, x: Tensor, encoder_outputs: Any = None) -> dict[str, Tensor]:
        return {name: x + i for i, name in enumerate(self.names)}


class Plain(Encoder):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return super().forward(x)


STATE = "encoder_last_hidden_state"


@pytest.mark.parametrize(
    ("model", "state", "results"),
    [
        (Encoder("logits", STATE), [1.0], [0.0]),
        (Encoder("logits", STATE, "encoder_hidden_states"), [1.0], [0.0, 2.0]),
        (Encoder(STATE), [], [0.0]),  # nothing else is returned: somebody wants it
        (Encoder(STATE, "loc", "scale"), [], [0.0, 1.0, 2.0]),  # no decoder has run: Autoformer without a future
        (Encoder("logits", "last_hidden_state"), [], [0.0, 1.0]),
        (Plain("logits", STATE), [], [0.0, 1.0]),  # no call takes it back
    ],
)
def test_what_an_encoder_hands_to_its_decoder_is_state(
    model: nn.Module, state: list[float], results: list[float]
) -> None:
    returned = model(torch.zeros(1))
    assert [float(tensor) for tensor in states_in(returned, model).values()] == state
    assert [float(tensor) for tensor in results_in(returned, model)] == results


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_stream_of_an_encoder_and_a_decoder_is_one_and_the_page_says_what_it_narrows(name: str) -> None:
    model, ids = decoder(name).eval(), IDS["input_ids"]
    inputs = {"input_ids": ids, "decoder_input_ids": ids[:, :4]}
    plan = lzero.discover(model, inputs, granularity="width")
    (stream,) = (group for group in plan.groups if group.norms)
    assert stream.size == 32 and plan.states == (STATE,)
    assert f"{STATE} loses features too" in str(plan)
    assert lzero.discover(model, inputs).states == () and STATE not in str(lzero.discover(model, inputs))
    gates = lzero.attach_gates(model, plan)
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model, settle=False).model.eval()
    fresh = torch.randint(0, 50, (3, 9))
    gated, cut = (m(input_ids=fresh, decoder_input_ids=fresh[:, :5]) for m in (model, small))
    torch.testing.assert_close(cut.logits, gated.logits, rtol=1e-4, atol=1e-5)
    held = cut.encoder_last_hidden_state
    assert held.shape[-1] < 32
    again = small(encoder_outputs=(held,), decoder_input_ids=fresh[:, :5]).logits
    assert torch.equal(again, cut.logits)
    said = [small.generate(fresh, max_new_tokens=5, do_sample=False, use_cache=cache) for cache in (True, False)]
    assert torch.equal(*said)

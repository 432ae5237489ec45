"""Every global generator of random numbers and every switch is left as it was; whole layers run op by op."""

from __future__ import annotations

import logging
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from nets import Net, sizes
from torch import Tensor, nn

import lzero
from lzero._torch import EagerDispatchMode
from lzero.host.quiet import isolated_random_state, silenced, unfused


def noisy() -> Net:
    """A net whose forward draws from all three streams."""

    def forward(net: Any, x: Tensor) -> Tensor:
        scale = 1.0 + random.random() + float(np.random.rand()) + float(torch.rand(()))
        return net.b((net.a(x) * scale).relu())

    return Net(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 2))


def streams() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()  # type: ignore[union-attr]


X = torch.randn(4, 5)


def test_discovery_gating_and_purging_move_no_stream() -> None:
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    net = noisy()
    before = streams()
    assert sizes(lzero.discover(net, X)) == {"a": 8}
    assert streams() == before
    lzero.attach_gates(net, X)
    assert streams() == before
    lzero.purge(net)
    assert streams() == before


def test_streams_are_restored_after_an_error_too() -> None:
    model = nn.Linear(2, 2)
    before = streams()
    with pytest.raises(ZeroDivisionError), isolated_random_state(model):
        random.random(), np.random.rand(), torch.rand(())
        raise ZeroDivisionError
    assert streams() == before


def test_a_bit_generator_of_the_users_is_kept() -> None:
    kept = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        expected = np.random.PCG64(1).random_raw()
        with isolated_random_state(nn.Linear(2, 2)):
            np.random.rand()
        assert np.random.get_bit_generator().random_raw() == expected
    finally:
        np.random.set_bit_generator(kept)


def test_draws_start_from_the_seed() -> None:
    model, before = nn.Linear(1, 1), torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with isolated_random_state(model, seed=seed):
            drawn.append((float(torch.rand(())), random.random(), float(np.random.rand())))
    assert drawn[0] == drawn[1] and not set(drawn[0]) & set(drawn[2])
    assert torch.equal(before, torch.get_rng_state())


def ops_of(layer: nn.Module, *inputs: Tensor) -> set[str]:
    seen: set[str] = set()

    class Names(EagerDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.add(str(func.overloadpacket))
            return func(*args, **(kwargs or {}))

    with unfused(), torch.no_grad(), Names():
        layer(*inputs)
    return seen


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.LSTM(3, 4), torch.randn(2, 1, 3)),
        (nn.GRU(3, 4), torch.randn(2, 1, 3)),
        (nn.TransformerEncoderLayer(8, 2, batch_first=True).eval(), torch.randn(1, 3, 8)),
        (nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.randn(1, 3, 8)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whole_layers_are_taken_apart(layer: nn.Module, inputs: Tensor) -> None:
    seen = ops_of(layer, *[inputs] * (3 if isinstance(layer, nn.MultiheadAttention) else 1))
    assert seen & {"aten.addmm", "aten.mm", "aten.bmm", "aten.baddbmm"}
    assert not [op for op in seen if "mkldnn" in op or "native_multi_head" in op or "transformer_encoder" in op]


def test_switches_are_put_back_after_an_error_too() -> None:
    def switches() -> tuple[bool, bool, bool]:
        mha = torch.backends.mha.get_fastpath_enabled()
        return mha, torch.backends.mkldnn.enabled, torch.is_inference_mode_enabled()

    for fast in (True, False):
        torch.backends.mha.set_fastpath_enabled(fast)
        try:
            with torch.inference_mode():
                before = switches()
                with pytest.raises(ZeroDivisionError), unfused():
                    assert switches() != before and not torch.is_inference_mode_enabled()
                    raise ZeroDivisionError
                assert switches() == before
        finally:
            torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_gradients_are_recorded_as_before(mode: Any) -> None:
    layer = nn.Linear(3, 2)
    with mode(), unfused():
        assert torch.is_grad_enabled() == layer(torch.ones(1, 3)).requires_grad == (mode is torch.enable_grad)


def test_a_compiled_layer_runs_as_it_was_written() -> None:
    layer: Any = torch.compile(nn.Linear(3, 2), backend="eager")
    with unfused():
        seen = ops_of(layer, torch.randn(1, 3))
    assert "aten.addmm" in seen


def test_silenced_says_nothing_and_hears_again(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("theirs")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with silenced():
            log.critical("unheard")
            warnings.warn("unheard", stacklevel=1)
        with pytest.raises(UserWarning, match="heard"):
            warnings.warn("heard", stacklevel=1)
    log.critical("heard")
    assert [record.message for record in caplog.records] == ["heard"]

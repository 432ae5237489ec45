"""Models whose copies are special once they are gated, and decoders with a cache: gated, purged, reloaded."""

import copy

import pytest
import torch
from decoders import IDS, decoder
from odd_copies import REFUSED, Compiled, PassesOn, model_with
from torch import nn
from torch.nn.parallel import DataParallel

import lzero
from lzero.host.run import run

X = torch.randn(4, 5)


@pytest.mark.parametrize("kind", [PassesOn, Compiled])
def test_layers_in_modules_that_pass_attributes_on_are_gated_and_purged(kind):
    model = model_with(kind)
    gates = lzero.attach_gates(model, X)
    assert len(gates) == 16
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model).model
    torch.testing.assert_close(run(small, X), run(model, X))
    assert type(small[2]) is type(model[2])


@pytest.mark.parametrize(("kind", "message"), REFUSED)
def test_what_could_not_be_purged_is_refused_before_the_training(kind, message):
    model = model_with(kind)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(lzero.StructureError, match=message.partition(" ")[0]):
        lzero.attach_gates(model, X)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_decoder_with_its_default_configuration_is_gated_purged_and_reloaded(name):
    model, fresh = decoder(name), decoder(name)
    order = [name for name, _ in model.named_parameters()]
    gates = lzero.attach_gates(model, IDS)
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model).model
    assert model.config.use_cache and small.config.use_cache
    assert [name for name, _ in small.named_parameters()] == order
    again = lzero.load_purged(fresh, small.state_dict())
    assert torch.equal(again.eval()(**IDS).logits, small.eval()(**IDS).logits)
    cached, plain = (small.generate(**IDS, max_new_tokens=4, do_sample=False, use_cache=on) for on in (True, False))
    assert torch.equal(cached, plain)


def test_a_wrapped_model_is_told_to_attach_first_with_a_plan_too():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    for given in (X, lzero.discover(model, X)):
        with pytest.raises(lzero.StructureError, match="attach gates to the plain model first"):
            lzero.attach_gates(DataParallel(model), given)

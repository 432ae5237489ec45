"""What a step calls first: found on a copy, before anything is computed."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero.host.inputs import Arguments
from lzero.integrations.lightning.first_call import first_call


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.encoder, self.decoder = nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3), nn.Linear(3, 4)
        self.steps, self.seen = 0, []

    def forward(self, x, add=None):
        return self.decoder(self.encoder(x) + (0 if add is None else add))


X = torch.rand(5, 4)


def test_the_model_itself_with_what_it_was_called_with():
    model = Parts()
    call = first_call(lambda twin: twin(X), model, "step")
    assert call.module is model and call.path == "" and torch.equal(call.inputs.value[0], X)
    assert call.inputs.value[0].data_ptr() != X.data_ptr()
    call = first_call(lambda twin: twin(x=X), model, "step")
    assert list(call.inputs.value) == ["x"]
    both = first_call(lambda twin: twin(X, add=1), model, "step").inputs.value
    assert isinstance(both, Arguments) and torch.equal(both.args[0], X) and both.kwargs == {"add": 1}


def test_what_is_not_trained_is_passed_over():
    model = Parts()
    model.encoder.requires_grad_(False)
    call = first_call(lambda twin: twin.decoder(twin.encoder(twin.scale(X))), model, "step")
    assert call.path == "decoder" and call.module is model.decoder
    call.check_whole(model, "step")


def test_a_part_that_was_named():
    model = Parts()
    call = first_call(lambda twin: twin(X), model, "step", among=model.decoder)
    assert call.module is model.decoder and call.inputs.value[0].shape == (5, 3)


def test_a_part_of_what_is_trained_needs_to_be_named():
    model = Parts()
    call = first_call(lambda twin: twin.decoder(twin.encoder(X)), model, "Net.training_step")
    with pytest.raises(
        StructureError, match=r"Net.training_step calls 'encoder' first, which holds 2 of the 4 .*module='e"
    ):
        call.check_whole(model, "Net.training_step")


def test_nothing_of_it_stays():
    model = Parts().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def step(twin):
        twin.steps += 1
        twin.seen.append(X)
        torch.rand(3)
        return twin(twin.scale(X))

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first_call(step, model, "step")
    assert torch.equal(torch.rand(1), expected) and model.steps == 0 and model.seen == [] and model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_what_is_compiled_is_looked_into():
    model = Parts()
    model.encoder = torch.compile(nn.Sequential(nn.Linear(4, 3)), backend="eager")
    call = first_call(lambda twin: twin.encoder(X), model, "step")
    assert call.module is model.encoder._orig_mod


def swallowing(twin):
    try:
        twin(X)
    except Exception:
        return 0
    return 1


def test_steps_that_fail_or_call_nothing():
    model = Parts()
    with pytest.raises(StructureError, match=r"step failed before it called .* \(ZeroDivisionError: .* example_inputs"):
        first_call(lambda twin: 1 / 0, model, "step")
    with pytest.raises(StructureError, match="step calls no module that is trained"):
        first_call(lambda twin: 0, model, "step")
    assert first_call(swallowing, model, "step").module is model

"""What is asked of modules and Trainers of Lightning, by stand-ins: test_lightning.py asks the real ones."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.integrations.lightning.target import after, fitting, optimizer_steps, own, target


class LightningModule(nn.Module):
    example_input_array = None
    automatic_optimization = True

    def setup(self, stage):
        return stage

    def configure_model(self):
        pass

    def on_before_batch_transfer(self, batch, number):
        return batch

    def transfer_batch_to_device(self, batch, device, number):
        return batch

    def on_after_batch_transfer(self, batch, number):
        return batch


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.body, self.calls = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), []

    def setup(self, stage):
        self.calls.append(stage)
        return super().setup(stage)

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        first.zero_grad()
        self.toggle(second)
        with second.toggle_model():
            self.log("x", batch.mean())
            return self.body(batch).sum()

    def toggle(self, optimizer):
        assert not [p for group in optimizer.param_groups for p in group["params"]] and len(self.optimizers()) == 2
        assert self.optimizers()[0] is not None

    def on_after_batch_transfer(self, batch, number):
        return 2 * batch


def trainer(**options):
    data = torch.utils.data.DataLoader(list(torch.rand(8, 4)), 4)
    loop = SimpleNamespace(_data_source=SimpleNamespace(dataloader=lambda: data))
    return SimpleNamespace(fit_loop=loop, datamodule=None, **options)


def test_whose_a_method_is():
    net = Net()
    assert own(net, "setup") and own(net, "training_step") and not own(net, "configure_model")
    assert not own(net, "forward") and own(nn.Sequential(), "forward")


def test_after_a_method_once():
    net, seen = Net(), []
    after(net, "setup", lambda: seen.append(len(net.calls)))
    assert net.setup("fit") == "fit" and net.setup(stage="test") == "test"
    assert seen == [1] and net.calls == ["fit", "test"] and "setup" not in vars(net)
    undo = after(net, "setup", lambda: seen.append(0))
    undo()
    undo()
    assert net.setup("fit") == "fit" and seen == [1] and "setup" not in vars(net)


def test_the_part_that_a_manual_training_step_calls_with_two_optimizers():
    net = Net()
    net.automatic_optimization = False
    gated, inputs = target(trainer(), net, None, None)
    data = list(trainer().fit_loop._data_source.dataloader().dataset)
    assert gated is net.body and inputs[0].shape == (2, 4) and len(data) == 8
    assert "optimizers" not in vars(net) and "log" not in vars(net)


def test_inputs_of_the_user_come_first():
    net, x = Net(), torch.rand(3, 4)
    assert target(None, net, x, "body") == (net.body, x)
    assert target(None, net, x, None) == (net.body, x)  # no forward of its own, and one part that has it all
    net.example_input_array = x
    assert target(None, net, None, None) == (net.body, x)


def test_what_is_missing_is_named():
    net = Net()
    with pytest.raises(StructureError, match="module: Net has no part 'head'; its parts are 'body'"):
        target(trainer(), net, None, "head")
    with pytest.raises(StructureError, match=r"Net.training_step: its data cannot be looked at .* example_inputs"):
        target(SimpleNamespace(fit_loop=SimpleNamespace()), net, None, None)
    with pytest.raises(StructureError, match=r"Net.training_step failed before .*not enough values to unpack"):
        target(trainer(), net, None, None)


def test_inputs_follow_the_module():
    x = torch.rand(3, 4)
    model = Net().body.double()
    assert fitting(model, (x, torch.ones(2, dtype=torch.long)))[0].dtype == torch.float64
    assert fitting(model, {"x": torch.ones(2, dtype=torch.long)})["x"].dtype == torch.long
    plan = lzero.discover(model, x.double())
    assert fitting(model, plan) is plan and fitting(model, None) is None
    model[0].float()
    assert fitting(model, x).dtype == torch.float32  # mixed: as they are


@pytest.mark.parametrize(
    ("steps", "optimizers", "automatic", "most", "known"),
    [
        (200, 1, True, -1, 200),
        (200, 1, True, 200, 200),
        (math.inf, 1, True, -1, None),
        (-1, 1, True, -1, None),
        (200, 2, False, -1, 200),
        (200, 2, False, 200, None),
    ],
)
def test_how_many_steps_there_are(steps, optimizers, automatic, most, known):
    stand_in = SimpleNamespace(estimated_stepping_batches=steps, optimizers=[0] * optimizers, max_steps=most)
    assert optimizer_steps(stand_in, SimpleNamespace(automatic_optimization=automatic)) == known

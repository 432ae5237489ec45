"""A library is told by a base class of the model, and sees its state dicts and what is purged of it."""

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.surgery.libraries import Library, library, library_of
from lzero.surgery.libraries.registry import LIBRARIES


class Base(nn.Module):
    """What all models of somebody's library have as a base."""


class Network(Base):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(self.a(x).relu())


@pytest.fixture
def seen():
    """What a library that is registered for :class:`Base` has been called with."""
    before, calls = dict(LIBRARIES), []

    @library(Base)
    class Somebody(Library):
        def saving(self, model, state, prefix):
            calls.append(("saving", prefix))
            state[f"{prefix}more"] = torch.zeros(1)

        def loading(self, model, state, prefix):
            calls.append(("loading", prefix))
            del state[f"{prefix}more"]

        def purged(self, small, model):
            calls.append(("purged", small.a.out_features, lzero.gates_of(model) is not None))

    yield calls
    LIBRARIES.clear()
    LIBRARIES.update(before)


def test_a_library_sees_state_dicts_and_purged_models(seen):
    model = Network()
    gates = lzero.attach_gates(model, torch.rand(2, 4))
    with torch.no_grad():
        gates.log_alpha[:5] = -9.0
    outer = nn.Sequential(model)
    outer.load_state_dict(outer.state_dict())  # strict: what it adds it takes out again
    small = lzero.purge(model, settle=False).model
    assert seen == [("saving", "0."), ("loading", "0."), ("purged", 3, True)]
    assert "more" not in small.state_dict()


def test_other_models_have_none(seen):
    assert type(library_of(nn.Linear(2, 2))) is Library
    assert type(library_of(Network())).__name__ == "Somebody"


def test_a_kind_is_a_class_or_a_dotted_name():
    with pytest.raises(StructureError, match="expected classes of modules, or dotted names"):
        library("Network")(Library)

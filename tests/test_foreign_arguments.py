"""Whatever is passed to a public callable in the place of an argument, the error is one of lzero's."""

import pytest
import torch
from plans import Mlp, mlp
from torch import nn

import lzero
from lzero.attach import attach_gates
from lzero.decay import expected_l2
from lzero.errors import LzeroError

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")


class Hostile:
    """Its repr raises, as some objects' does."""

    def __repr__(self):
        raise RuntimeError("no repr")


X = torch.zeros(2, 5)
FOREIGN = {
    "object": object(),
    "hostile": Hostile(),
    "bytes": b"1",
    "large": 10**400,
    "complex": complex(1),
    "tensor": torch.zeros(2),
    "class": nn.Linear,
    "function": lambda: None,
    "set": {1, 2},
    "nested": [[object()]],
}


def gated():
    torch.manual_seed(0)
    model, plan = mlp()
    return model, attach_gates(model, plan)


def scored(loss, closure):
    model, plan = mlp()
    gates = attach_gates(model, plan, estimator=lzero.gates.ARM())
    model(X)
    gates.score(loss, closure)


CALLS = {
    "discover.model": lambda v: lzero.discover(v, X),
    "attach_gates.model": lambda v: lzero.attach_gates(v, X),
    "attach_gates.estimator": lambda v: lzero.attach_gates(Mlp(), X, estimator=v),
    "attach_gates.per_example": lambda v: lzero.attach_gates(Mlp(), X, per_example=v),
    "attach_gates.open_probability": lambda v: lzero.attach_gates(Mlp(), X, open_probability=v),
    "attach_gates.rescale": lambda v: lzero.attach_gates(Mlp(), X, rescale=v),
    "Constraint.target": lambda v: lzero.Constraint(v),
    "Constraint.measure": lambda v: lzero.Constraint(0.5, v),
    "Constraint.within": lambda v: lzero.Constraint(0.5, within=v),
    "Constraint.each_layer": lambda v: lzero.Constraint(0.5, each_layer=v),
    "HardConcrete.temperature": lambda v: lzero.HardConcrete(v),
    "HardConcrete.gamma": lambda v: lzero.HardConcrete(gamma=v),
    "HardConcrete.zeta": lambda v: lzero.HardConcrete(zeta=v),
    "HardConcrete.evaluate": lambda v: lzero.HardConcrete(evaluate=v),
    "gates_of.model": lzero.gates_of,
    "detach_gates.model": lzero.detach_gates,
    "expected_l2.model": expected_l2,
    "purge.model": lzero.purge,
    "purge.constraints": lambda v: lzero.purge(gated()[0], constraints=v),
    "purge.settle": lambda v: lzero.purge(gated()[0], settle=v),
    "purge.verify": lambda v: lzero.purge(gated()[0], verify=v),
    "LogNormal.low": lambda v: lzero.gates.LogNormal(low=v),
    "ARM.scale": lambda v: lzero.gates.ARM(v),
    "ARM.link": lambda v: lzero.gates.ARM(link=v),
    "Gates.plan": lambda v: lzero.Gates(v),
    "Gates.score.loss": lambda v: scored(v, lambda: 1.0),
    "Gates.score.closure": lambda v: scored(1.0, v),
    "Gates.fixed": lambda v: gated()[1].fixed(v).__enter__(),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", CALLS)
def test_a_foreign_object_is_an_error_of_lzero(name, kind):
    if (name, kind) == ("Gates.score.closure", "class"):
        pytest.skip("a call that raises is the caller's own error")
    with pytest.raises(LzeroError):
        CALLS[name](FOREIGN[kind])

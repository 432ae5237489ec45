"""Any argument of any public call: it succeeds, or it is an LzeroError that changes nothing."""

import itertools
import random

import numpy as np
import pytest
import torch
from plans import same, snapshot
from torch import nn

import lzero
from lzero import gates as distributions
from lzero.baselines import Magnitude
from lzero.errors import LzeroError
from lzero.solver import Elbo

CALLS = 800


class Hostile:
    """Its repr raises, as some objects' does."""

    def __repr__(self):
        raise RuntimeError("no repr")


def generator():
    yield 0.5


WRONG = {
    "None": lambda: None,
    "bool": lambda: True,
    "word": lambda: "x",
    "empty word": lambda: "",
    "bytes": lambda: b"1",
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "half": lambda: 0.5,
    "7": lambda: 7,
    "huge": lambda: 10**400,
    "complex": lambda: 1j,
    "np half": lambda: np.float32(0.5),
    "np 7": lambda: np.int64(7),
    "np bool": lambda: np.bool_(True),
    "np array": lambda: np.zeros(3),
    "tensor": lambda: torch.zeros(3),
    "0-dim": lambda: torch.tensor(0.5),
    "odd": lambda: torch.zeros(0, 3, 0, dtype=torch.complex64),
    "integers": lambda: torch.ones(2, 8, dtype=torch.int8),
    "list": lambda: [1],
    "words": lambda: ["0", "2"],
    "nested": lambda: [[0.5], None],
    "dict": lambda: {"": 0.5},
    "odd dict": lambda: {1: Hostile()},
    "class": lambda: nn.Linear,
    "function": lambda: lambda *_: 0.5,
    "raising": lambda: lambda *_: 1 / 0,
    "generator": generator,
    "module": lambda: nn.Linear(2, 2),
    "hostile": Hostile,
    "object": object,
    "set": lambda: {1, 2},
}


class World:
    """A gated model, an ungated one, and all else that a call may change."""

    def __init__(self, folder):
        torch.manual_seed(0)
        self.plain = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        self.model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        self.x = torch.randn(3, 8)
        self.plan = lzero.discover(self.plain, self.x)
        self.gates = lzero.attach_gates(self.model, self.x)
        self.solver = lzero.Solver(self.gates, 0.8, total_steps=1000)
        self.model(self.x).sum().backward()
        self.solver.step()
        self.model(self.x).sum().backward()
        self.normal = lzero.attach_gates(
            nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)), self.x, estimator=distributions.LogNormal()
        )
        self.masked = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        self.masks = lzero.attach_gates(self.masked, self.x, estimator=distributions.Mask())
        scored = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
        self.arm = lzero.attach_gates(scored, self.x, estimator=distributions.ARM())
        scored(self.x)
        self.recorder = lzero.Recorder()
        self.recorder.append(loss=0.5)
        self.folder = folder
        self.plan.save(folder / "plan")

    def state(self):
        gates = self.gates
        return (
            *(snapshot(model) for model in (self.plain, self.model, self.masked)),
            (random.getstate(), str(np.random.get_state())),
            (list(self.recorder), {name: t.clone() for name, t in gates.ledger.items()}, gates.ledger._holder),
            (gates.log_alpha.grad.clone(), gates.held, gates.drawing.fixed, sorted(self.folder.iterdir())),
            self.arm.log_alpha.detach().clone(),
            self.arm.log_alpha.grad,
        )


def unchanged(before, after):
    assert torch.equal(before[6], after[6]) and before[7] is after[7]
    for one, two in zip(before[:3], after[:3], strict=True):
        same(one, two)
    assert before[3] == after[3], "a global generator moved"
    assert before[4][0] == after[4][0] and before[4][2] is after[4][2]
    assert before[4][1].keys() == after[4][1].keys()
    assert all(torch.equal(tensor, after[4][1][name]) for name, tensor in before[4][1].items())
    assert torch.equal(before[5][0], after[5][0]) and before[5][1:] == after[5][1:]


def fixed(world, z):
    with world.gates.fixed(z):
        world.model(world.x)


def opposite(world):
    with world.gates.opposite():
        world.model(world.x)


def bernoulli(kind):
    return lambda world, **named: kind(**named)


# name -> the call, its right arguments
TARGETS = {
    "discover": (
        lambda w, **n: lzero.discover(**n),
        {
            "model": lambda w: w.plain,
            "example_inputs": lambda w: w.x,
            "granularity": lambda w: "unit",
            "ignore": lambda w: (),
        },
    ),
    "attach_gates": (
        lambda w, **n: lzero.attach_gates(**n),
        {
            "model": lambda w: w.plain,
            "example_inputs": lambda w: w.plan,
            "granularity": lambda w: "unit",
            "estimator": lambda w: None,
            "per_example": lambda w: False,
            "open_probability": lambda w: 0.9,
            "rescale": lambda w: True,
            "ignore": lambda w: (),
        },
    ),
    "detach_gates": (lambda w, **n: lzero.detach_gates(**n), {"model": lambda w: w.model}),
    "gates_of": (lambda w, **n: lzero.gates_of(**n), {"model": lambda w: w.model}),
    "purge": (
        lambda w, **n: lzero.purge(**n),
        {
            "model": lambda w: w.model,
            "constraints": lambda w: [lzero.Constraint(0.7)],
            "settle": lambda w: True,
            "verify": lambda w: True,
        },
    ),
    "load_purged": (
        lambda w, **n: lzero.load_purged(**n),
        {"model": lambda w: w.plain, "saved": lambda w: lzero.purge(w.model).model.state_dict()},
    ),
    "save_purged": (
        lambda w, **n: lzero.save_purged(**n),
        {"result": lambda w: lzero.purge(w.model), "folder": lambda w: w.folder / "saved"},
    ),
    "Constraint": (
        lambda w, **n: lzero.Constraint(**n),
        {
            "target": lambda w: 0.5,
            "measure": lambda w: "params",
            "within": lambda w: None,
            "each_layer": lambda w: False,
        },
    ),
    "Solver": (
        lambda w, **n: lzero.Solver(**n),
        {
            "gates": lambda w: w.gates,
            "target_density": lambda w: 0.8,
            "measure": lambda w: "params",
            "constraints": lambda w: None,
            "total_steps": lambda w: 1000,
            "anneal_steps": lambda w: None,
            "finetune": lambda w: 0.0,
            "gate_lr": lambda w: 0.1,
            "optimizer": lambda w: None,
            "schedule": lambda w: "cubic",
            "dual_lr": lambda w: 0.01,
            "dual": lambda w: "sgd",
            "dual_options": lambda w: {},
            "restarts": lambda w: True,
            "two_sided": lambda w: True,
            "scale": lambda w: True,
            "augmentation": lambda w: 0.0,
            "fresh": lambda w: False,
            "process_group": lambda w: None,
        },
    ),
    "compact": (
        lambda w, model, optimizer, **n: lzero.compact(model, optimizer, **n),
        {
            "model": lambda w: w.model,
            "optimizer": lambda w: torch.optim.Adam(w.model.parameters()),
            "copies": lambda w: [],
            "below": lambda w: 0.4,
        },
    ),
    "Compaction": (
        lambda w, model, optimizer, **n: lzero.Compaction(model, optimizer, **n),
        {
            "model": lambda w: w.model,
            "optimizer": lambda w: torch.optim.Adam(w.model.parameters()),
            "copies": lambda w: [],
            "below": lambda w: 0.01,
            "worth": lambda w: 0.2,
        },
    ),
    "Descent": (
        lambda w, **n: lzero.Descent(**n),
        {
            "gates": lambda w: w.gates,
            "targets": lambda w: [0.9, 0.8],
            "measure": lambda w: "params",
            "total_steps": lambda w: 1000,
            "finetune": lambda w: 0.1,
            "gate_lr": lambda w: 0.1,
            "dual_lr": lambda w: 0.01,
            "fresh": lambda w: True,
            "process_group": lambda w: None,
        },
    ),
    "front": (
        lambda w, **n: lzero.front(**n),
        {
            "model": lambda w: w.model,
            "targets": lambda w: [0.9, 0.8],
            "evaluate": lambda w: lambda small: 0.5,
            "measure": lambda w: "params",
            "calibrate": lambda w: [w.x],
            "inputs": lambda w: w.x,
        },
    ),
    "Penalty": (
        lambda w, **n: lzero.Penalty(**n),
        {
            "gates": lambda w: w.gates,
            "coefficient": lambda w: 0.1,
            "measure": lambda w: "macs",
            "total_steps": lambda w: 100,
            "gate_lr": lambda w: 0.1,
            "optimizer": lambda w: None,
            "fresh": lambda w: True,
        },
    ),
    "Elbo": (
        lambda w, **n: Elbo(**n),
        {
            "gates": lambda w: w.normal,
            "examples": lambda w: 10,
            "warm_up_steps": lambda w: 5,
            "measure": lambda w: "params",
            "total_steps": lambda w: 100,
            "gate_lr": lambda w: 0.1,
            "optimizer": lambda w: None,
            "fresh": lambda w: True,
        },
    ),
    "Magnitude": (
        lambda w, **n: Magnitude(**n),
        {
            "gates": lambda w: w.masks,
            "target_density": lambda w: 0.8,
            "measure": lambda w: "params",
            "constraints": lambda w: None,
            "model": lambda w: w.masked,
            "total_steps": lambda w: 100,
            "criterion": lambda w: "magnitude",
            "schedule": lambda w: "cubic",
            "begin": lambda w: 0.0,
            "end": lambda w: 0.5,
            "every": lambda w: 10,
            "seed": lambda w: 0,
            "fresh": lambda w: False,
        },
    ),
    "Solver.step": (
        lambda w, **n: w.solver.step(**n),
        {"loss": lambda w: None, "closure": lambda w: None, "scaler": lambda w: None},
    ),
    "Gates.fixed": (fixed, {"z": lambda w: torch.ones(6)}),
    "Gates.score": (
        lambda w, **n: w.gates.score(**n),
        {"loss": lambda w: 0.5, "closure": lambda w: lambda: 0.5},
    ),
    "ARM.score": (
        lambda w, **n: w.arm.score(**n),
        {"loss": lambda w: 0.5, "closure": lambda w: lambda: 0.25},
    ),
    "Plan.save": (lambda w, **n: w.plan.save(**n), {"path": lambda w: w.folder / "again"}),
    "Plan.load": (lambda w, **n: lzero.Plan.load(**n), {"path": lambda w: w.folder / "plan"}),
    "HardConcrete": (
        bernoulli(distributions.HardConcrete),
        {
            "temperature": lambda w: 0.5,
            "gamma": lambda w: -0.1,
            "zeta": lambda w: 1.1,
            "evaluate": lambda w: "mean",
        },
    ),
    **{
        kind.__name__: (bernoulli(kind), {"scale": lambda w: 1.0, "link": lambda w: "sigmoid"})
        for kind in (distributions.AR, distributions.ARM, distributions.StraightThrough)
    },
    "Recorder.append": (lambda w, **n: w.recorder.append(**n), {"loss": lambda w: 0.25, "label": lambda w: "a"}),
    "Recorder.column": (lambda w, **n: w.recorder.column(**n), {"name": lambda w: "loss"}),
    "Recorder.to_csv": (lambda w, **n: w.recorder.to_csv(**n), {"path": lambda w: w.folder / "rows.csv"}),
    "Recorder.from_csv": (lambda w, **n: lzero.Recorder.from_csv(**n), {"path": lambda w: w.folder / "rows.csv"}),
}
OURS = ("raising", "class", "module")  # callables of the caller's that raise by themselves, once they are called


def calls(count):
    """(target, arguments by name -> what), every single wrong one first, then mixtures."""
    for name, (_, right) in TARGETS.items():
        for parameter, wrong in itertools.product(right, WRONG):
            yield name, {parameter: wrong}
    chosen, made = random.Random(0), 0
    while made < count:
        name = chosen.choice(sorted(TARGETS))
        right = TARGETS[name][1]
        several = chosen.sample(sorted(right), min(len(right), chosen.choice([0, 2, 2, 3])))
        yield name, {parameter: chosen.choice(sorted(WRONG)) for parameter in several}
        made += 1


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_any_argument_is_taken_or_refused_without_a_trace(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, right = TARGETS[name]
    (tmp_path / "w").mkdir()
    world, faults, made = World(tmp_path / "w"), [], 0
    for target, wrong in calls(CALLS):
        if target != name:
            continue
        made += 1
        named = {
            parameter: (WRONG[wrong[parameter]]() if parameter in wrong else make(world))
            for parameter, make in right.items()
        }
        before = world.state()
        again = False
        try:
            call(world, **named)
            again = name != "discover"  # whatever it has changed on purpose is not looked at
        except LzeroError:
            pass
        except Exception as problem:
            if {wrong.get("closure"), wrong.get("schedule"), wrong.get("evaluate")} & set(OURS):
                continue
            faults.append((wrong, f"{type(problem).__name__}: {problem}"[:150]))
        if not again:
            try:
                unchanged(before, world.state())
            except Exception as problem:
                again = True
                faults.append((wrong, f"changed: {type(problem).__name__}: {problem}"[:150]))
        if again:
            for left in (tmp_path / "w").iterdir():
                left.unlink()
            world = World(tmp_path / "w")
    assert not faults, f"{len(faults)} of {made}:\n" + "\n".join(f"{wrong}: {said}" for wrong, said in faults[:60])


def test_enough_calls_are_made():
    assert len(list(calls(CALLS))) > 2000 and {name for name, _ in calls(0)} == set(TARGETS)


NUMBERS = {
    "Constraint": lambda: lzero.Constraint(np.float64(0.5)),
    "single": lambda: lzero.Constraint(np.float32(0.5)),
    "HardConcrete": lambda: lzero.HardConcrete(temperature=np.float64(0.5), gamma=np.float32(-0.25)),
    "AR": lambda: distributions.AR(scale=np.float32(1)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_are_numbers(name):
    NUMBERS[name]()


def test_a_solver_takes_numbers_of_numpy(tmp_path):
    world = World(tmp_path)
    numbers = {"total_steps": np.int64(1000), "gate_lr": np.float32(0.1), "dual_lr": np.float64(0.01)}
    solver = lzero.Solver(world.gates, np.float64(0.8), **numbers)
    world.model(world.x).sum().backward()
    solver.step()
    assert lzero.Penalty(
        world.gates, np.float32(0.1), total_steps=np.int32(10), fresh=True
    ).coefficient == pytest.approx(0.1)
    assert world.model.state_dict()["lzero.steps"].item() == 0

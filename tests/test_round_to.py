"""Widths that are multiples of a number, from the first argument to the reloaded file."""

import copy
import json
import pickle
from dataclasses import replace

import pytest
import torch
from plans import Mlp, same, snapshot
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.baselines import Magnitude
from lzero.constraints import Constraint
from lzero.errors import BudgetError, SolverError, StructureError
from lzero.gates import Mask
from lzero.plan.plan import Plan

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
STEPS = 60


class Classifier(nn.Module):
    """Attention and hidden units in two blocks, over [n, 5, 12]."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(12, 3, 21, dropout=0.0, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


def images():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 18, 3, padding=1, bias=False), nn.BatchNorm2d(18), nn.ReLU(), nn.Flatten(),
        nn.Linear(18 * 16, 7), nn.ReLU(), nn.Linear(7, 3),
    )  # fmt: skip


CASES = {  # model, shape of an example, asked
    "mlp": (lambda: Mlp((6, 33, 20, 3)), (6,), {"round_to": 8}),
    "mlp with features": (lambda: Mlp((6, 33, 20, 3)), (6,), {"round_to": {"": 8, "fc3": 5}, "granularity": "input"}),
    "convolutions": (images, (1, 4, 4), {"round_to": 4}),
    "attention": (Classifier, (5, 12), {"round_to": 4}),
    "attention and streams": (Classifier, (5, 12), {"round_to": 4, "granularity": "width"}),
}
WIDTHS = {  # of every group that has steps, its step and its size
    "mlp": {"fc1": (8, 33), "fc2": (8, 20)},
    "mlp with features": {"fc1": (8, 33), "fc2": (5, 20)},
    "convolutions": {"0": (4, 12), "3": (4, 18), "7": (4, 7)},
    "attention": {"blocks.0.linear1": (4, 21), "blocks.1.linear1": (4, 21)},
    "attention and streams": {"blocks.0.linear1": (4, 21), "blocks.1.linear1": (4, 21)},
}


class Training:
    """A gated model with its own optimizer; ``solver`` builds what moves the gates."""

    def __init__(self, name, solver=None, **asked):
        make, shape, options = CASES[name]
        torch.manual_seed(0)
        self.model = make()
        self.gates = lzero.attach_gates(self.model, torch.randn(2, *shape), **{**options, **asked})
        self.solver = (solver or (lambda gates: lzero.Solver(gates, 0.4, total_steps=STEPS)))(self.gates)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.shape, self.taken = shape, 0

    def run(self, steps):
        for step in range(self.taken, self.taken + steps):
            torch.manual_seed(step)
            x = torch.randn(16, *self.shape)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), x.flatten(1)[:, :3].argmax(1)).backward()
            self.solver.step()
            self.optimizer.step()
        self.taken += steps
        return self


def allowed(size, step):
    return {*range(step, size, step), size}


def assert_rounded(name, result):
    found = {group: int(mask.sum()) for group, mask in result.kept.items()}
    for group, (step, size) in WIDTHS[name].items():
        assert found[group] in allowed(size, step), group
    assert any(found[group] < size for group, (_, size) in WIDTHS[name].items())  # something has left


@pytest.mark.parametrize("name", CASES)
def test_a_training_ships_such_widths_within_a_step_of_its_budget(name, tmp_path):
    training = Training(name).run(STEPS)
    result, certificate = (made := lzero.purge(training.model)), made.certificate
    assert_rounded(name, result)
    assert certificate.deployed["params"] <= 0.4 and 0 <= certificate.spare["params"] < 1
    assert certificate.parameters == sum(p.numel() for p in result.model.parameters())
    assert certificate.largest_difference < 1e-5
    x = torch.randn(4, *training.shape)
    training.model.eval()
    assert torch.allclose(training.model(x), result.model.eval()(x), atol=1e-5)  # what was trained is what is shipped
    lzero.save_purged(result, tmp_path / "small")
    reloaded = lzero.load_purged(CASES[name][0](), tmp_path / "small").eval()
    assert torch.equal(reloaded(x), result.model(x))


def test_the_tensors_of_the_purged_model_have_these_widths():
    small = lzero.purge(Training("convolutions").run(STEPS).model).model
    channels = [small[0].out_channels, small[3].out_channels, small[7].out_features]
    assert channels[0] in (4, 8, 12) and channels[1] in (4, 8, 12, 16, 18) and channels[2] in (4, 7)
    assert small[1].num_features == channels[0] and small[7].in_features == channels[1] * 16


def test_until_it_settles_a_training_is_that_of_single_gates_to_the_bit():
    one, other = Training("mlp", round_to=1), Training("mlp")
    settles_at = one.solver.settles_at
    for training in (one, other):
        training.run(settles_at - 1)
    assert torch.equal(one.gates.log_alpha, other.gates.log_alpha) and one.solver.metrics() == other.solver.metrics()
    assert torch.equal(one.gates.open_mask(), other.gates.open_mask())
    for training in (one, other):
        training.run(1)
    counts = {name: int(mask.sum()) for name, mask in other.gates.split(other.gates.held != 0).items()}
    assert counts["fc1"] in allowed(33, 8) and counts["fc2"] in allowed(20, 8)
    assert not torch.equal(one.gates.held, other.gates.held)


def test_the_certificate_says_so_printed_and_as_json():
    certificate = lzero.purge(Training("mlp").run(STEPS).model).certificate
    left = f"{certificate.spare['params']:.2f} steps to spare of params"
    assert f"widths: whole or multiples of 8 ({left})" in str(certificate)
    found = json.loads(json.dumps(certificate.to_dict()))
    assert found["round_to"] == 8 and found["spare"] == dict(certificate.spare)
    several = replace(certificate, round_to={"": 8, "fc3": 1}, spare={})
    assert "widths: whole or multiples of 8; as they are at fc3\n" in str(several)
    plain = lzero.purge(Training("mlp", round_to=1).run(STEPS).model).certificate
    assert plain.round_to == 1 and 0 <= plain.spare["params"] < 1 and "widths" not in str(plain)


def test_a_penalty_ships_the_open_gates_up_to_the_next_width():
    training = Training("mlp", lambda gates: lzero.Penalty(gates, 2.0, gate_lr=0.1)).run(STEPS)
    open_ = {name: int(mask.sum()) for name, mask in training.gates.split(training.gates.open_mask()).items()}
    for settle in (True, False):
        result = lzero.purge(training.model, settle=settle)
        for name, mask in result.kept.items():
            assert int(mask.sum()) == min(-(-open_[name] // 8) * 8, len(mask))
        assert result.certificate.moved == sum(int(mask.sum()) for mask in result.kept.values()) - sum(open_.values())
        assert result.certificate.round_to == 8 and result.certificate.spare == {}
    assert 0 < sum(open_.values()) < 53


def test_without_settling_a_budget_ships_such_widths_too():
    training = Training("mlp", lambda gates: lzero.Solver(gates, 0.4, total_steps=STEPS, finetune=0.0)).run(STEPS)
    open_ = {name: int(mask.sum()) for name, mask in training.gates.split(training.gates.open_mask()).items()}
    assert open_["fc1"] not in allowed(33, 8) or open_["fc2"] not in allowed(20, 8)
    assert_rounded("mlp", lzero.purge(training.model, settle=False))


def test_several_budgets_and_groups_that_are_alike():
    constraints = [Constraint(0.6, uniform=True), Constraint(0.7, "macs")]
    training = Training("attention", lambda gates: lzero.Solver(gates, constraints=constraints, total_steps=STEPS))
    result = lzero.purge(training.run(STEPS).model)
    one, two = (int(result.kept[f"blocks.{n}.linear1"].sum()) for n in range(2))
    assert one == two and one in allowed(21, 4)
    assert all(result.certificate.deployed[name] <= asked for name, asked in result.certificate.asked.items())
    assert min(result.certificate.spare.values()) < 1


def test_magnitude_pruning_keeps_such_widths():
    torch.manual_seed(0)
    model = Mlp((6, 33, 20, 3))
    gates = lzero.attach_gates(model, torch.randn(2, 6), estimator=Mask(), round_to=8)
    magnitude = Magnitude(gates, 0.4, model=model, total_steps=STEPS, every=5)
    for _ in range(STEPS):
        model(torch.randn(4, 6)).sum().backward()
        magnitude.step()
    result = lzero.purge(model)
    assert_rounded("mlp", result)
    assert result.certificate.moved == 0 and 0 <= result.certificate.spare["params"] < 1


@pytest.mark.parametrize("at", [20, 50])  # before and after it has settled
@pytest.mark.parametrize("name", ["mlp with features", "convolutions"])
def test_a_resumed_training_ends_as_an_uninterrupted_one_to_the_bit(name, at):
    whole, first, second = (Training(name) for _ in range(3))
    whole.run(STEPS)
    first.run(at)
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.taken = at
    second.run(STEPS - at)
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in second.model.state_dict().items())
    one, two = lzero.purge(whole.model), lzero.purge(second.model)
    assert one.certificate == two.certificate and all(torch.equal(one.kept[k], two.kept[k]) for k in one.kept)


@pytest.mark.parametrize("other", [1, 4, {"": 8, "fc1": 4}])
def test_a_training_that_goes_on_with_another_number_is_told(other):
    state = Training("mlp").run(5).model.state_dict()
    later = Training("mlp", round_to=other)
    with pytest.raises(SolverError, match=r'"round_to": 8'):
        later.model.load_state_dict(state)
    model = Mlp((6, 33, 20, 3))
    gates = lzero.attach_gates(model, torch.randn(2, 6), round_to=other)
    model.load_state_dict(state)
    with pytest.raises(SolverError, match=r"trained for 5 steps by a Solver \(.*round_to=8, .*\); this one is"):
        lzero.Solver(gates, 0.4, total_steps=STEPS)
    with pytest.raises(StructureError, match=r"trained with 8, these were attached with .*; attach .* round_to=8"):
        lzero.purge(model)
    lzero.purge(model, constraints=[Constraint(0.4)])
    lzero.Solver(gates, 0.4, total_steps=STEPS, fresh=True)


def test_what_was_trained_without_it_goes_on_as_before():
    one = Training("mlp", round_to=1).run(5)
    assert b"round_to" not in bytes(one.gates.ledger["asked"].tolist())
    two = Training("mlp", round_to={"": 1, "fc1": 1})
    two.model.load_state_dict(one.model.state_dict())
    two.run(1)


def test_copies_and_pickles_of_gates_keep_the_number():
    training = Training("mlp").run(STEPS)
    expected = lzero.purge(training.model).kept
    found = lzero.purge(copy.deepcopy(training.model)).kept
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    gates = pickle.loads(pickle.dumps(training.gates))
    assert gates.plan.round_to == 8 and gates.masks.stepped == training.gates.masks.stepped != ()
    mapping = Training("mlp with features").gates
    assert pickle.loads(pickle.dumps(mapping)).plan.round_to == {"": 8, "fc3": 5} == mapping.plan.round_to


def test_a_plan_has_it_its_file_too_and_an_argument_comes_before_it(tmp_path):
    model, x = Mlp((6, 33, 20, 3)), torch.randn(2, 6)
    plan = lzero.discover(model, x)
    assert plan.round_to == 1 and "in steps of" not in str(plan)
    rounded = replace(plan, round_to={"": 8, "fc3": 4})
    rounded.save(tmp_path / "plan")
    loaded = Plan.load(tmp_path / "plan")
    assert loaded.round_to == rounded.round_to and dict(loaded.steps) == {"fc1": 8, "fc2": 4}
    assert str(loaded) == str(rounded)
    page = " ".join(str(loaded).split())
    assert "in steps of 8, read by fc2" in page and "the floor, one step of each" in page
    assert plan.floor() < loaded.floor() == pytest.approx((8 * 7 + 4 * 9 + 3 * 5) / plan.parameters)
    assert lzero.attach_gates(copy.deepcopy(model), loaded).plan.round_to == {"": 8, "fc3": 4}
    assert lzero.attach_gates(copy.deepcopy(model), loaded, round_to=1).masks.stepped == ()
    assert dict(lzero.attach_gates(model, loaded, round_to=5).plan.steps) == {"fc1": 5, "fc2": 5}


def test_the_gates_of_a_part_and_the_floor_message():
    model = Mlp((6, 33, 20, 3))
    gates = lzero.attach_gates(model, torch.randn(2, 6), round_to=16)
    assert {name: int(mask.sum()) for name, mask in gates.split(gates.floor()).items()} == {"fc1": 16, "fc2": 16}
    with pytest.raises(BudgetError, match=r"one step \(round_to=16; a group that is no wider stays whole\)"):
        lzero.Solver(gates, 0.3, total_steps=STEPS)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (0, "a whole number >= 1"),
        (True, "a whole number >= 1"),
        (8.0, "a whole number >= 1"),
        ("8", "a whole number >= 1"),
        ({"fc1": -1}, r"round_to\['fc1'\]: expected a whole number >= 1"),
        ({1: 8}, "module path"),
        ({"fc4": 8}, r"no gated weights at 'fc4'; there are some at fc1, fc2, fc3"),
        ({"fc1.weight": 8}, r"no gated weights at 'fc1.weight'"),
    ],
)
@pytest.mark.parametrize("planned", [False, True])
def test_nonsense_is_refused_before_anything_changes(asked, said, planned):
    model, x = Mlp((6, 33, 20, 3)), torch.randn(2, 6)
    what = lzero.discover(model, x) if planned else x
    before = snapshot(model)
    with pytest.raises(StructureError, match=said):
        lzero.attach_gates(model, what, round_to=asked)
    same(before, snapshot(model))
    assert lzero.gates_of(model) is None

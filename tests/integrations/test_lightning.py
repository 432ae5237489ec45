"""A budget in trainings of Lightning: what a loop of one's own gives, to the bit, whatever the Trainer is asked for."""

import pickle
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

import lzero
from lzero.errors import BudgetError, LzeroWarning, StructureError

lightning = pytest.importorskip("lightning")

from integrations.lightning_nets import (  # noqa: E402
    BATCH,
    EXAMPLES,
    SEED,
    TARGET,
    WIDTH,
    Classifier,
    Inner,
    budget,
    by_hand,
    data,
    loader,
    network,
    trainer,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*isinstance.treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers", "error::lzero.LzeroWarning"),
    pytest.mark.filterwarnings("ignore:total_steps. .* optimizer steps are few:lzero.LzeroWarning"),
]
STEPS = EXAMPLES // BATCH
UNIT = (16 + 1 + WIDTH) / sum(p.numel() for p in network().parameters())  # of the first layer, the dearest


def within_a_unit(certificate, target=TARGET):
    return 0 <= target - certificate.deployed["params"] < UNIT


def same(model, by_hand):
    """Whether a module has the weights and the gates of a network, and the state of the training, to the bit."""
    one = {name.removeprefix("net."): tensor for name, tensor in model.state_dict().items()}
    two = {name.removeprefix("net."): tensor for name, tensor in by_hand.state_dict().items()}
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_one_line_and_the_network_is_within_its_budget(tmp_path):
    model, line = Classifier(), budget()
    fit = trainer(tmp_path, line)
    fit.fit(model, loader(), loader())
    assert line.gated is model and lzero.gates_of(model) is line.gates and line.solver.steps == 20 * STEPS
    result = line.purge()
    assert within_a_unit(result.certificate) and not result.certificate.warnings
    assert fit.validate(model, loader(), verbose=False)[0]["val_error"] < 0.05
    assert fit.test(model, loader(), verbose=False)[0]["val_error"] < 0.05
    outputs = torch.cat(fit.predict(model, loader()))
    small = lzero.purge(model).model  # the LightningModule, with the same ways
    assert torch.equal(
        torch.cat(fit.predict(small, loader())), torch.cat(trainer(tmp_path).predict(result.model, loader()))
    )
    assert torch.allclose(torch.cat(fit.predict(small, loader())), outputs, atol=1e-5)
    assert len(pickle.dumps(result.model)) < 20_000  # and no Trainer with it
    fresh = lzero.load_purged(Classifier(), result.model.state_dict())
    assert torch.equal(fresh(data()[0]), result.model(data()[0]))


@pytest.mark.parametrize(
    ("asked", "hand"),
    [
        ({}, {}),
        ({"accumulate_grad_batches": 4}, {"accumulate": 4}),
        ({"gradient_clip_val": 0.05}, {"clip": partial(clip_grad_norm_, max_norm=0.05)}),
        (
            {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
            {"clip": partial(clip_grad_value_, clip_value=0.01)},
        ),
        (
            {"precision": "bf16-mixed"},
            {"autocast": torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False)},
        ),
        ({"precision": "bf16-true"}, {"dtype": torch.bfloat16}),
        ({"precision": "64-true"}, {"dtype": torch.float64}),
    ],
    ids=["plain", "accumulation", "clipped by norm", "clipped by value", "bf16-mixed", "bf16-true", "64-true"],
)
def test_the_trainer_gives_what_a_loop_gives(tmp_path, asked, hand):
    model, line = Classifier(), budget()
    trainer(tmp_path, line, **asked).fit(model, loader())
    _, by_itself = by_hand(**hand)
    assert line.solver.steps == 20 * -(-STEPS // hand.get("accumulate", 1))
    assert same(model, by_itself)
    if line.solver.steps == 20 * STEPS:
        assert within_a_unit(line.purge().certificate)


def test_half_precision_with_a_scaler_skips_what_overflows(tmp_path):
    """Lightning takes bfloat16 instead on a CPU, so that its plugin is given one; the scale begins far too high."""
    from lightning.pytorch.plugins import MixedPrecision

    def scaler():
        return torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=30)

    model, line = Classifier(), budget()
    plugin = MixedPrecision("16-mixed", "cpu", scaler())
    trainer(tmp_path, line, plugins=[plugin], gradient_clip_val=0.5).fit(model, loader())
    half = torch.autocast("cpu", dtype=torch.float16, cache_enabled=False)
    _, by_itself = by_hand(autocast=half, scaler=scaler(), clip=partial(clip_grad_norm_, max_norm=0.5))
    assert line.solver.skipped > 0 and line.solver.steps == 20 * STEPS
    assert same(model, by_itself) and within_a_unit(line.purge().certificate)


class Late(Classifier):
    """Builds its layers late, and says in which order it was asked to."""

    def __init__(self, where):
        super().__init__()
        self.where, self.net, self.order = where, None, []

    def setup(self, stage):
        self.order.append("setup")
        if self.where == "setup" and self.net is None:
            self.net = network()

    def configure_model(self):
        self.order.append("configure_model")
        if self.where == "configure_model" and self.net is None:
            self.net = network()

    def on_load_checkpoint(self, checkpoint):
        self.order.append("gated" if lzero.gates_of(self) else "plain")

    def configure_optimizers(self):
        self.order.append("gated" if lzero.gates_of(self) else "plain")
        return super().configure_optimizers()


@pytest.mark.parametrize("where", ["setup", "configure_model"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_gates_come_after_layers_and_before_checkpoints_and_optimizers(tmp_path, where, precision):
    model, line = Late(where), budget(total_steps=400)
    fit = trainer(tmp_path, line, epochs=2, precision=precision)
    with pytest.warns(LzeroWarning, match="ended at step 20, before its gates settle at step 320"):
        fit.fit(model, loader())
    fit.save_checkpoint(tmp_path / "saved.ckpt")
    assert model.order == ["setup", "configure_model", "gated"] and line.solver.steps == 20
    model, line = Late(where), budget(total_steps=400)
    with pytest.warns(LzeroWarning, match="ended at step 30"):
        trainer(tmp_path, line, epochs=3, precision=precision).fit(model, loader(), ckpt_path=tmp_path / "saved.ckpt")
    assert model.order == ["setup", "configure_model", "gated", "gated"] and line.solver.steps == 30
    assert not {"setup", "configure_model", "log", "optimizers"} & vars(model).keys()


class Refused(Classifier):
    """Nothing in it can be gated."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(16, 2)


class Failing(Classifier):
    def setup(self, stage):
        raise RuntimeError("no disk")


@pytest.mark.parametrize(
    ("model", "line", "error", "message"),
    [
        (Refused, lambda: budget(), StructureError, "nothing can be gated"),
        (Classifier, lambda: budget(0.0001), BudgetError, "cannot be met: .* ask for at least"),
        (Classifier, lambda: budget(module="backbone"), StructureError, "has no part 'backbone'; its parts are 'net'"),
        (Classifier, lambda: budget(example_inputs=torch.rand(2, 5)), StructureError, "does not run|shapes cannot"),
        (Failing, lambda: budget(), RuntimeError, "no disk"),
    ],
)
def test_what_cannot_be_done_is_refused_before_training_and_leaves_no_trace(tmp_path, model, line, error, message):
    model = model()
    before, attributes = {name: tensor.clone() for name, tensor in model.state_dict().items()}, set(vars(model))
    with pytest.raises(error, match=message):
        trainer(tmp_path, line()).fit(model, loader())
    after = model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert lzero.gates_of(model) is None and set(vars(model)) - {"_hparams"} == attributes
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_what_was_never_trained_is_neither_gated_nor_purged(tmp_path):
    model, line = Classifier(), budget()
    trainer(tmp_path, line).validate(model, loader(), verbose=False)
    assert lzero.gates_of(model) is None
    with pytest.raises(StructureError, match=r"call trainer\.fit first"):
        line.purge()


class Seen(Classifier):
    """Keeps what it was trained on, and what every generator drew meanwhile."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, batch_idx):
        import random

        import numpy

        x, y = batch
        self.seen += [x.clone(), torch.rand(2), torch.tensor([random.random(), numpy.random.rand()])]
        return F.cross_entropy(self(x), y)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_and_random_numbers_are_those_of_a_training_without_it(tmp_path, workers):
    found = []
    for lines in ([], [budget(total_steps=1000)]):
        lightning.seed_everything(7, verbose=False)
        own = torch.Generator().manual_seed(3)
        options = {"generator": own} if workers else {}
        model = Seen()
        fit = trainer(tmp_path, *lines, epochs=1, limit_train_batches=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LzeroWarning)
            fit.fit(model, loader(shuffle=True, num_workers=workers, **options))
        found.append(model.seen)
    assert len(found[0]) == len(found[1]) == 3
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


class WithForwardOnly(Classifier):
    example_input_array = torch.rand(3, 16)


def test_which_part_is_gated_and_with_what(tmp_path):
    def gated(model, **options):
        line = budget(total_steps=1000, **options)
        fit = trainer(tmp_path, line, epochs=1, limit_train_batches=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LzeroWarning)
            fit.fit(model, loader())
        inputs = line.gates.plan.example_inputs
        return line.gated, inputs[0] if isinstance(inputs, tuple) else inputs

    x, _ = data()
    model = Classifier()
    assert gated(model)[0] is model and torch.equal(gated(Classifier())[1], x[:2])
    model = Inner()
    assert gated(model)[0] is model.net
    model = WithForwardOnly()
    found, inputs = gated(model)
    assert found is model and torch.equal(inputs, model.example_input_array)
    model = WithForwardOnly()
    found, inputs = gated(model, module="net")
    assert found is model.net and torch.equal(inputs, model.example_input_array)
    model = Inner()
    found, inputs = gated(model, module="net", example_inputs=x[:5])
    assert found is model.net and torch.equal(inputs, x[:5])
    model = Classifier()
    plan = lzero.discover(model, x[:4])
    found, inputs = gated(model, example_inputs=plan)
    assert found is model and torch.equal(inputs, x[:4])


class Manual(Classifier):
    """One optimizer, stepped by hand every other batch, and gradients that are cleared by hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        torch.manual_seed(SEED + self.trainer.fit_loop.epoch_loop.total_batch_idx)
        x, y = batch
        self.manual_backward(F.cross_entropy(self(x), y) / 2)
        if batch_idx % 2:
            optimizer.step()
            optimizer.zero_grad()


def test_manual_optimization(tmp_path):
    model, line = Manual(), budget(total_steps=20 * STEPS // 2)
    trainer(tmp_path, line).fit(model, loader())
    _, by_itself = by_hand(accumulate=2)
    assert line.solver.steps == 20 * STEPS // 2 and same(model, by_itself)


class Adversarial(lightning.LightningModule):
    """A generator with gates, and a critic that is trained through it, without a detach.

    Args:
        how: what keeps the losses apart: ``"zero"`` gradients before each backward, ``"toggle"`` what is trained, or
            ``"keep"`` zeros in cleared gradients.
        first: the network that is trained first.
    """

    def __init__(self, how, first="critic"):
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 16))
        self.critic = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
        self.how, self.order = how, ("critic", "generator") if first == "critic" else ("generator", "critic")

    def loss(self, name, x):
        made = self.critic(self.generator(x))
        return F.softplus(made - self.critic(x)).mean() if name == "critic" else F.softplus(-made).mean()

    def training_step(self, batch, batch_idx):
        optimizers = dict(zip(("generator", "critic"), self.optimizers(), strict=True))
        for number, name in enumerate(self.order):
            optimizer = optimizers[name]
            torch.manual_seed(SEED + 2 * self.trainer.fit_loop.epoch_loop.total_batch_idx + number)
            if self.how == "toggle":
                self.toggle_optimizer(optimizer)
            else:
                optimizer.zero_grad(set_to_none=self.how != "keep")
            self.manual_backward(self.loss(name, batch[0]))
            optimizer.step()
            if self.how == "toggle":
                optimizer.zero_grad()
                self.untoggle_optimizer(optimizer)

    def configure_optimizers(self):
        return [torch.optim.Adam(part.parameters(), 1e-3) for part in (self.generator, self.critic)]


def adversarial_by_hand(epochs, order):
    """Both losses in a loop where each gradient is asked for on its own."""
    model = Adversarial("zero")
    x, _ = data()
    gates = lzero.attach_gates(model.generator, x[:2])
    solver = lzero.Solver(gates, TARGET, total_steps=epochs * STEPS)
    optimizers = dict(zip(("generator", "critic"), model.configure_optimizers(), strict=True))
    for number in range(epochs * STEPS):
        inputs = x.split(BATCH)[number % STEPS]
        for part, name in enumerate(order):
            torch.manual_seed(SEED + 2 * number + part)
            optimizers["generator"].zero_grad()
            optimizers["critic"].zero_grad()
            gates.log_alpha.grad = None
            model.loss(name, inputs).backward()
            if name == "generator":
                solver.step()
            optimizers[name].step()
    return model.generator


@pytest.mark.parametrize("first", ["critic", "generator"])
@pytest.mark.parametrize("how", ["zero", "toggle", "keep"])
def test_a_critic_moves_no_gate_of_the_generator(tmp_path, how, first):
    model, line = Adversarial(how, first), budget(module="generator")
    trainer(tmp_path, line, epochs=16).fit(model, loader())
    assert line.gated is model.generator and line.solver.steps == 16 * STEPS
    assert same(model.generator, adversarial_by_hand(16, model.order))
    certificate = line.purge().certificate
    assert 0 <= TARGET - certificate.deployed["params"] < 33 / certificate.total["params"]


def test_several_networks_need_to_be_told_apart(tmp_path):
    with pytest.raises(
        StructureError, match=r"calls 'generator' first, .* 4 of the 8 .* Budget\(..., module='generator'"
    ):
        trainer(tmp_path, budget()).fit(Adversarial("zero"), loader())
    with pytest.raises(SolverError, match=r"number of optimizer steps .* Budget\(..., total_steps"):
        trainer(tmp_path, budget(module="generator"), max_steps=100).fit(Adversarial("zero"), loader())


class Skipping(Classifier):
    def training_step(self, batch, batch_idx):
        return None if batch_idx % 3 == 0 else super().training_step(batch, batch_idx)


def test_batches_that_are_skipped_are_no_steps(tmp_path):
    model, line = Skipping(), budget(total_steps=10 * 6)
    trainer(tmp_path, line, epochs=10).fit(model, loader())
    assert line.solver.steps == 10 * 6 and line.gates.held is not None


@pytest.mark.parametrize("endless", [{"epochs": -1}, {"epochs": -1, "max_time": "00:00:01:00"}])
def test_a_training_without_an_end_needs_one_for_its_budget(tmp_path, endless):
    with pytest.raises(SolverError, match=r"number of optimizer steps .* Budget\(..., total_steps"):
        trainer(tmp_path, budget(), **endless).fit(Classifier(), loader())


def test_the_rows_of_the_logger_and_the_progress_bar(tmp_path):
    import csv

    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    loggers = [CSVLogger(tmp_path, "csv", ""), TensorBoardLogger(tmp_path, "board", "")]
    model, line = Classifier(), budget()
    fit = trainer(tmp_path, line, logger=loggers)
    fit.fit(model, loader())
    rows = list(csv.DictReader((tmp_path / "csv" / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(9, 200, 10)) and all(row["loss"] for row in rows)
    assert all(row[f"lzero/{name}"] for row in rows for name in ("expected", "deployed", "target", "multiplier"))
    now = line.solver.metrics()
    assert float(rows[-1]["lzero/deployed"]) == pytest.approx(now["deployed"]) == pytest.approx(0.3, abs=UNIT)
    assert {"lzero/deployed", "lzero/multiplier"} == {n for n in fit.progress_bar_metrics if n.startswith("lzero/")}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    assert [event.step for event in board.Scalars("lzero/deployed")] == list(range(9, 200, 10))


def test_a_resumed_training_is_the_whole_one_to_the_bit(tmp_path):
    class Stop(lightning.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            if trainer.current_epoch in (8, 17):
                trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    whole, line = Classifier(), budget()
    first = trainer(tmp_path, line, Stop())
    first.fit(whole, loader())
    for epoch in (8, 17):  # before and after the gates have settled
        model, other = Classifier(), budget()
        fit = trainer(tmp_path, other)
        fit.fit(model, loader(), ckpt_path=tmp_path / f"{epoch}.ckpt")
        assert other.solver.steps == 20 * STEPS and same(model, whole)
        states = [fit.optimizers[0].state_dict()["state"] for fit in (first, fit)]
        assert all(torch.equal(states[0][i][n], states[1][i][n]) for i in states[0] for n in states[0][i])

"""A budget in trainings of Lightning: what a loop of one's own gives, to the bit, whatever the Trainer is asked for."""

import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

import lzero
from lzero.errors import BudgetError, LzeroWarning, SolverError, StructureError

lightning = pytest.importorskip("lightning")

from integrations.lightning.nets import (  # noqa: E402
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
    seed,
    trainer,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*isinstance.treespec.*"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers", "error::lzero.LzeroWarning"),
    pytest.mark.filterwarnings("ignore:total_steps. .* optimizer steps are few:lzero.LzeroWarning"),
]
STEPS = EXAMPLES // BATCH
TESTS = Path(__file__).parents[2]
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
        seed(self)
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
    assert 0 <= TARGET - certificate.deployed["params"] < (17 + 16) / 808


def test_several_networks_need_to_be_told_apart(tmp_path):
    with pytest.raises(
        StructureError, match=r"calls 'generator' first, .* 4 of the 8 .* Budget\(..., module='generator'"
    ):
        trainer(tmp_path, budget()).fit(Adversarial("zero"), loader())
    with pytest.raises(SolverError, match=r"number of optimizer steps .* Budget\(..., total_steps"):
        trainer(tmp_path, budget(module="generator"), max_steps=100).fit(Adversarial("zero"), loader())


class Skipping(Classifier):
    def training_step(self, batch, batch_idx):
        return None if batch_idx % 3 == 1 else super().training_step(batch, batch_idx)


def test_batches_that_are_skipped_are_no_steps(tmp_path):
    model, line = Skipping(), budget(total_steps=10 * 7)
    trainer(tmp_path, line, epochs=10).fit(model, loader())
    assert line.solver.steps == 10 * 7 and line.gates.held is not None


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


class Watched(Classifier):
    """Its monitored score is best in the second epoch, while the budget has not come down, and rises ever after."""

    def validation_step(self, batch, batch_idx):
        score = 0.0 if self.current_epoch == 1 else 1.0 + self.current_epoch
        self.log("score", score)


def test_the_best_checkpoint_and_early_stopping_look_at_what_will_be_shipped(tmp_path):
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    model, line = Watched(), budget()
    best = ModelCheckpoint(tmp_path, "{epoch}", monitor="score")
    stop = EarlyStopping("score", patience=2)
    trainer(tmp_path, line, best, stop, enable_checkpointing=True).fit(model, loader(), loader())
    # Settled in epoch 15, the best one from then on; two worse ones after it end the training.
    assert Path(best.best_model_path).name == "epoch=15.ckpt" and float(best.best_model_score) == 16
    assert line.solver.steps == 18 * STEPS and (tmp_path / "epoch=1.ckpt").exists()
    saved = torch.load(best.best_model_path, weights_only=True)["state_dict"]
    model.load_state_dict(saved)
    result = line.purge()
    assert within_a_unit(result.certificate) and not result.certificate.warnings


def test_a_best_checkpoint_that_misses_the_budget_is_named_with_both_numbers(tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint

    best = ModelCheckpoint(tmp_path, "{epoch}", monitor="score")
    fit = trainer(tmp_path, line := budget(), best, enable_checkpointing=True, check_val_every_n_epoch=12)
    with pytest.warns(
        LzeroWarning, match=r"epoch=11.ckpt: .*before the gates settled, .*29\.\d+% deployed, asked 30.00%"
    ):
        fit.fit(Watched(), loader(), loader())
    assert not best.best_model_path and within_a_unit(line.purge().certificate)


def test_callbacks_that_average_weights(tmp_path):
    from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging

    for make in (partial(StochasticWeightAveraging, 1e-2, 17), partial(EMAWeightAveraging, decay=0.9)):
        with pytest.raises(StructureError, match=r"Averaging: has copied .* lzero.attach_gates.model, example_inputs"):
            trainer(tmp_path, budget(), make()).fit(Classifier(), loader())
        for callbacks in ([line := budget(), make()], [make(), line]):
            model = Classifier()
            gates = lzero.attach_gates(model, data()[0][:2])
            fit = trainer(tmp_path, *callbacks)
            fit.fit(model, loader())
            assert line.gates is gates and within_a_unit(line.purge().certificate)
            assert fit.validate(model, loader(), verbose=False)[0]["val_error"] < 0.05


def test_a_solver_of_ones_own(tmp_path):
    model, line = Classifier(), budget(None, solver=lambda gates, steps: lzero.Penalty(gates, 1.0 + 0 * steps))
    fit = trainer(tmp_path, line)
    fit.fit(model, loader())
    assert isinstance(line.solver, lzero.Penalty) and line.solver.steps == 20 * STEPS
    assert {n for n in fit.callback_metrics if n.startswith("lzero/")} >= {"lzero/expected", "lzero/deployed"}
    with pytest.warns(LzeroWarning, match="no budget"):
        assert line.purge().certificate.deployed["params"] < 1


def test_gates_of_the_users_own(tmp_path):
    class Own(Classifier):
        def setup(self, stage):
            lzero.attach_gates(self.net, torch.rand(2, 16), open_probability=0.9)

    model, line = Own(), budget()
    trainer(tmp_path, line).fit(model, loader())
    assert line.gated is model.net and within_a_unit(line.purge().certificate)


def test_a_second_fit_goes_on_with_what_is_held(tmp_path):
    model, line = Classifier(), budget()
    trainer(tmp_path, line).fit(model, loader())
    held = line.gates.held.clone()
    trainer(tmp_path, again := budget(total_steps=20 * STEPS), epochs=2).fit(model, loader())
    assert again.solver.steps == 22 * STEPS and torch.equal(again.gates.held, held)
    assert within_a_unit(again.purge().certificate)


class Compiled(Classifier):
    def __init__(self):
        super().__init__()
        self.net = torch.compile(self.net, backend="eager")

    def training_step(self, batch, batch_idx):
        seed(self)
        return F.cross_entropy(self.net(batch[0]), batch[1])


@pytest.mark.parametrize("whole", [False, True])
def test_compiled_modules(tmp_path, whole):
    model, line = Inner() if whole else Compiled(), budget()
    trainer(tmp_path, line).fit(torch.compile(model, backend="eager") if whole else model, loader())
    assert line.gated is (model.net if whole else model.net._orig_mod)
    result = line.purge()
    assert line.solver.steps == 20 * STEPS and within_a_unit(result.certificate)
    before = result.model(data()[0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(result.model(data()[0]), before)  # it runs nothing of the gated one


TWO = """
import sys, warnings
import torch
from integrations.lightning.nets import Classifier, Inner, budget, loader, trainer
import lzero

if __name__ == "__main__":
    folder, strategy, kind = sys.argv[1:]
    model, line = {"root": Classifier, "part": Inner}[kind](), budget()
    fit = trainer(folder, line, strategy=strategy, devices=2, epochs=40)
    fit.fit(model, loader(shuffle=True))
    result = line.purge()
    found = {"certificate": result.certificate, "model": result.model.state_dict(), "module": model.state_dict()}
    if strategy == "ddp":
        found |= {"steps": line.solver.steps, "multipliers": line.solver.multipliers}
    else:
        try:
            line.purge(verify=False)
        except lzero.StructureError as error:
            found["error"] = str(error)
        found["again"] = line.purge() is result
    torch.save(found, f"{folder}/{fit.global_rank}.pt")
    if torch.distributed.is_initialized():  # threads that outlive it abort the process now and then
        torch.distributed.destroy_process_group()
"""


def in_two_processes(tmp_path, strategy, kind):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    paths = os.pathsep.join([str(TESTS), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    command = [sys.executable, str(script), str(tmp_path), strategy, kind]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True, timeout=600)
    return [torch.load(path, weights_only=False) for path in sorted(tmp_path.glob("[01].pt"))]


@pytest.mark.parametrize("kind", ["root", "part"])
def test_two_processes_agree_to_the_bit(tmp_path, kind):
    one, two = in_two_processes(tmp_path, "ddp", kind)
    assert one["steps"] == two["steps"] == 200 and one["multipliers"] == two["multipliers"]
    for name, tensor in one["module"].items():
        assert torch.equal(tensor, two["module"][name]), name
    assert all(torch.equal(tensor, two["model"][name]) for name, tensor in one["model"].items())
    assert within_a_unit(one["certificate"]) and not one["certificate"].warnings


@pytest.mark.parametrize("kind", ["root", "part"])
def test_spawned_processes_hand_their_result_over(tmp_path, kind):
    (found,) = in_two_processes(tmp_path, "ddp_spawn", kind)
    assert within_a_unit(found["certificate"]) and not found["certificate"].warnings
    small = lzero.load_purged(Classifier() if kind == "root" else network(), found["model"])
    x, y = data()
    assert (small(x).argmax(1) != y).float().mean() < 0.05
    assert found["again"] and "spawned processes, which have purged already" in found["error"]


PYTORCH_LIGHTNING = """
import sys
import pytorch_lightning, torch
from torch import nn
import lzero

assert "lightning" not in sys.modules
torch.manual_seed(0)
x = torch.randn(640, 16)
data = torch.utils.data.TensorDataset(x, (x[:, :4].sum(1) > 0).long())


class Classifier(pytorch_lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


line = lzero.integrations.lightning.Budget(0.3)
assert isinstance(line, pytorch_lightning.Callback)
options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
trainer = pytorch_lightning.Trainer(callbacks=line, max_epochs=20, **options)
trainer.fit(Classifier(), torch.utils.data.DataLoader(data, 64))
certificate = line.purge().certificate
assert 0 <= 0.3 - certificate.deployed["params"] < 19 / 610, certificate
assert line.solver.steps == 200 and "lightning" not in sys.modules
"""


def test_the_older_package(tmp_path):
    pytest.importorskip("pytorch_lightning")
    subprocess.run([sys.executable, "-c", PYTORCH_LIGHTNING], cwd=tmp_path, check=True, timeout=600)

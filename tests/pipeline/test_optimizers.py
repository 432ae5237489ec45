"""Whatever the loop around it is, the training ends at what was asked, before settling, with no setting touched."""

import pytest
import torch
from pipeline.loop import BATCH, BATCHES, TRAIN, accuracy, batches, digits, gated
from pipeline.optimizers import Sam
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

import lzero

STEPS = 10 * BATCHES


OPTIMIZERS = {
    "adam": lambda model: torch.optim.Adam(model.parameters(), 1e-3),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1),
    "sgd": lambda model: torch.optim.SGD(model.parameters(), 0.05),
    "momentum": lambda model: torch.optim.SGD(model.parameters(), 0.05, momentum=0.9),
    "adagrad": lambda model: torch.optim.Adagrad(model.parameters(), 1e-2),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), 1e-3),
    "foreach": lambda model: torch.optim.Adam(model.parameters(), 1e-3, foreach=True),
    "fused": lambda model: torch.optim.Adam(model.parameters(), 1e-3, fused=True),
}


def plain(model, solver, optimizer, steps):
    for x, y in batches(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()


def with_optimizer(name):
    return lambda model, solver, steps: plain(model, solver, OPTIMIZERS[name](model), steps)


def two_optimizers(model, solver, steps):
    first, second = torch.optim.Adam(model[:2].parameters(), 1e-3), torch.optim.SGD(model[2:].parameters(), 0.05)
    for x, y in batches(steps):
        first.zero_grad(), second.zero_grad()
        F.cross_entropy(model(x), y).backward()
        first.step()
        solver.step()
        second.step()


def scheduled(make):
    def loop(model, solver, steps):
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        schedule = make(optimizer, steps)
        for x, y in batches(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            solver.step()
            optimizer.step()
            schedule.step()

    return loop


def sharpness_aware(model, solver, steps):
    optimizer = Sam(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in batches(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.climb()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()


def step_after(model, solver, steps):
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for x, y in batches(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        solver.step()


def clipped(model, solver, steps):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        solver.step()
        optimizer.step()


def accumulated(model, solver, steps):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for number, (x, y) in enumerate(batches(4 * steps), 1):
        (F.cross_entropy(model(x), y) / 4).backward()
        if number % 4 == 0:
            solver.step()
            optimizer.step()
            optimizer.zero_grad()


def scaled(told):
    def loop(model, solver, steps):
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=50)
        for x, y in batches(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            solver.step(**({"scaler": scaler} if told else {}))
            scaler.step(optimizer)
            scaler.update()

    return loop


def partly_frozen(model, solver, steps):
    model[0].requires_grad_(False)  # and all its parameters, but not its gates
    plain(model, solver, torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3), steps)


def all_frozen_for_a_while(model, solver, steps):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for number, (x, y) in enumerate(batches(steps)):
        drawn = number < 0.8 * steps  # once gates are held, a frozen model has nothing left to train
        model.requires_grad_(not drawn or number % 4 != 0)  # module.requires_grad_ knows parameters alone
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()


def cleared_by_the_model(set_to_none):
    def loop(model, solver, steps):
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for x, y in batches(steps):
            model.zero_grad(set_to_none=set_to_none)
            F.cross_entropy(model(x), y).backward()
            solver.step()
            optimizer.step()

    return loop


def cleared_afterwards(model, solver, steps):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(steps):
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)


def cleared_after_the_forward(model, solver, steps):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(steps):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        solver.step()
        optimizer.step()


def evaluated_between(model, solver, steps):
    """An evaluation every few steps, between a forward and its backward too."""
    x_test, _ = digits()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for number, (x, y) in enumerate(batches(steps)):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if number % 10 == 0:
            model.eval()
            with torch.no_grad():
                model(x_test[TRAIN:])
            model.train()
        loss.backward()
        solver.step()
        optimizer.step()


def in_closures(model, solver, steps):
    """As Lightning and others call optimizers: with a closure that runs forward and backward."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for x, y in batches(steps):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        solver.step()


LOOPS = {
    **{name: with_optimizer(name) for name in OPTIMIZERS},
    "two optimizers": two_optimizers,
    "one cycle": scheduled(lambda optimizer, steps: torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)),
    "cosine": scheduled(lambda optimizer, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)),
    "sharpness aware": sharpness_aware,
    "step after": step_after,
    "clipped": clipped,
    "accumulated": accumulated,
    "scaled": scaled(told=False),
    "scaled and told": scaled(told=True),
    "partly frozen": partly_frozen,
    "all frozen for a while": all_frozen_for_a_while,
    "cleared by the model": cleared_by_the_model(True),
    "zeroed by the model": cleared_by_the_model(False),
    "cleared afterwards": cleared_afterwards,
    "cleared after the forward": cleared_after_the_forward,
    "evaluated between": evaluated_between,
    "in closures": in_closures,
}
FAST = ("adamw", "sgd", "step after")


def check(loop, target, steps=STEPS, least=0.85):
    model, gates = gated()
    parameters = sum(p.numel() for p in model.parameters())
    solver = lzero.Solver(gates, target_density=target, total_steps=steps)
    loop(model, solver, steps)
    assert solver.steps == steps and sum(p.numel() for p in model.parameters()) == parameters
    result = lzero.purge(model)
    certificate = result.certificate
    assert abs(certificate.before_settling["params"] - target) < 0.01, certificate
    assert 0 <= target - certificate.deployed["params"] < 364 / parameters  # of its costliest unit
    assert not certificate.warnings
    assert accuracy(result.model) > least
    return certificate


@pytest.mark.parametrize("name", FAST)
def test_a_training_ends_at_its_target(name):
    check(LOOPS[name], 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.1, 0.3])
@pytest.mark.parametrize("name", LOOPS)
def test_every_loop_ends_at_its_target(name, target):
    check(LOOPS[name], target)


@pytest.mark.slow
@pytest.mark.parametrize("use_buffers", [False, True])
def test_an_average_of_the_weights_purges_to_the_same_budget(use_buffers, recwarn):
    model, gates = gated()
    solver = lzero.Solver(gates, target_density=0.1, total_steps=STEPS)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=use_buffers)
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()
        averaged.update_parameters(model)
    result = lzero.purge(averaged)
    certificate = result.certificate
    assert 0 <= 0.1 - certificate.deployed["params"] < 0.007
    assert not certificate.warnings and not [w for w in recwarn if issubclass(w.category, lzero.LzeroWarning)]
    assert accuracy(result.model) > 0.9
    assert type(result.model) is type(model)
    purged = lzero.purge(model)
    assert all(torch.equal(purged.kept[name], result.kept[name]) for name in purged.kept) or use_buffers


def test_the_solver_costs_the_loop_no_draw_of_the_data():
    """The order of the batches is the loader's own, with gates as without."""
    first = [y for _, y in batches(3)]
    model, gates = gated()
    solver, seen = lzero.Solver(gates, 0.3, total_steps=STEPS), []
    for x, y in batches(3):
        seen.append(y)
        F.cross_entropy(model(x), y).backward()
        solver.step()
    assert all(torch.equal(a, b) for a, b in zip(first, seen, strict=True)) and len(seen[0]) == BATCH

"""What loops do around a step leaves the gates what they are without it: to the bit, or as theory says."""

import pytest
import torch
from pipeline.loop import batches, digits, gated
from pipeline.optimizers import Sam
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import lzero

STEPS = 8


def trained(loop, model_of=lambda: gated(24), **options):
    """The gates and the weights after ``loop(model, solver, optimizer)``, and the multiplier."""
    model, gates = model_of()
    solver = lzero.Solver(gates, 0.5, total_steps=200)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, **options)
    torch.manual_seed(1)
    loop(model, solver, optimizer)
    assert solver.steps == STEPS and not solver.skipped
    return gates.log_alpha.detach(), torch.cat([p.detach().flatten() for p in model.parameters()]), solver.multipliers


def plain(model, solver, optimizer):
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()


def after(model, solver, optimizer):
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        solver.step()


def zeroed(model, solver, optimizer):
    for x, y in batches(STEPS):
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()


def scaled(model, solver, optimizer):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        solver.step(scaler=scaler)
        scaler.step(optimizer)
        scaler.update()


def unscaled(model, solver, optimizer):
    """As loops that clip do."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        solver.step(scaler=scaler)
        scaler.step(optimizer)
        scaler.update()


def in_closures(model, solver, optimizer):
    for x, y in batches(STEPS):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        solver.step()


def scheduled(model, solver, optimizer):
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=3)
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()
        schedule.step()


def averaged(model, solver, optimizer):
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        solver.step()
        optimizer.step()
        average.update_parameters(model)


@pytest.mark.parametrize(
    "loop", [after, zeroed, scaled, unscaled, in_closures, scheduled, averaged], ids=lambda loop: loop.__name__
)
def test_a_loop_trains_gates_as_the_plain_one_does_to_the_bit(loop):
    expected, found = trained(plain), trained(loop)
    assert all(torch.equal(a, b) for a, b in zip(expected[:2], found[:2], strict=True)) and expected[2] == found[2]


@pytest.mark.parametrize("option", ["foreach", "fused"])
def test_kernels_of_the_optimizer_change_rounding_alone(option):
    expected, found = trained(plain, foreach=False), trained(plain, **{option: True})
    for a, b in zip(expected[:2], found[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


class Checkpointed(nn.Module):
    """Two blocks, the second run again within backward."""

    def __init__(self, mode):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(64, 24), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(24, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 10))
        self.mode = mode

    def forward(self, x):
        x = self.first(x)
        if self.mode is None:
            return self.second(x)
        return checkpoint(self.second, x, use_reentrant=self.mode)


@pytest.mark.parametrize("mode", [False, True], ids=["not reentrant", "reentrant"])
def test_activation_checkpointing_changes_nothing(mode):
    def model_of(mode):
        model = Checkpointed(mode)
        return model, lzero.attach_gates(model, torch.zeros(2, 64))

    expected, found = trained(plain, lambda: model_of(None)), trained(plain, lambda: model_of(mode))
    assert all(torch.equal(a, b) for a, b in zip(expected[:2], found[:2], strict=True)) and expected[2] == found[2]


def gradient(*passes, clear=None):
    """``log_alpha.grad`` after some passes, each a function of model and loss; one draw a pass, by its number."""
    model, gates = gated(24)
    x, y = next(batches(1))
    optimizer = Sam(model.parameters(), lr=0.05, rho=0.5)
    for number, before in passes:
        before(model, gates, optimizer)
        torch.manual_seed(number)
        F.cross_entropy(model(x), y).backward()
    return gates.log_alpha.grad


def nothing(model, gates, optimizer):
    pass


def climb(clear):
    def before(model, gates, optimizer):
        optimizer.climb()
        clear(model, gates, optimizer)

    return before


CLEARS = {
    "None": lambda model, gates, optimizer: optimizer.zero_grad(),
    "zeros": lambda model, gates, optimizer: optimizer.zero_grad(set_to_none=False),
    "model": lambda model, gates, optimizer: model.zero_grad(),
}


@pytest.mark.parametrize("clear", CLEARS)
def test_of_the_two_passes_of_sharpness_aware_minimisation_the_second_alone_counts(clear):
    def alone(model, gates, optimizer):
        optimizer.climb()
        optimizer.zero_grad()
        gates.log_alpha.grad = None

    found = gradient((1, nothing), (2, climb(CLEARS[clear])))
    assert torch.equal(found, gradient((1, nothing), (2, alone)))
    assert not torch.equal(found, gradient((1, nothing)))


def test_accumulated_passes_all_count():
    both = gradient((1, nothing), (2, nothing))
    torch.testing.assert_close(both, gradient((1, nothing)) + gradient((2, nothing)))


def test_passes_between_which_weights_move_and_keep_their_gradient_all_count():
    """As where several optimizers take turns."""
    found = gradient((1, nothing), (2, climb(nothing)))
    second = gradient((1, nothing), (2, climb(CLEARS["None"])))
    torch.testing.assert_close(found, gradient((1, nothing)) + second)


def test_a_step_of_sharpness_aware_minimisation_moves_gates_by_that_gradient():
    model, gates = gated(24)
    solver = lzero.Solver(gates, 0.5, total_steps=200, optimizer=torch.optim.SGD([gates.log_alpha], 1.0))
    start, optimizer = gates.log_alpha.detach().clone(), Sam(model.parameters(), lr=0.05, rho=0.5)
    x, y = next(batches(1))
    for number in (1, 2):
        torch.manual_seed(number)
        F.cross_entropy(model(x), y).backward()
        if number == 1:
            optimizer.climb()
            optimizer.zero_grad()
    optimizer.step()
    solver.step()  # its multiplier is still 0
    torch.testing.assert_close(start - gates.log_alpha, gradient((1, nothing), (2, climb(CLEARS["None"]))))


def test_gates_alone_train_where_all_weights_are_frozen():
    model, gates = gated(24)
    model.requires_grad_(False)
    before = [p.clone() for p in model.parameters()]
    solver = lzero.Solver(gates, 0.5, total_steps=STEPS, finetune=0)  # held gates would leave nothing to train
    for x, y in batches(STEPS):
        F.cross_entropy(model(x), y).backward()
        solver.step()
    assert solver.steps == STEPS and all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    result = lzero.purge(model)
    assert result.certificate.deployed["params"] <= 0.5
    kept = result.kept["0"]
    z = gates.evaluate(lzero.gates_of(model).open_mask())
    assert result.model[2].weight.shape == (10, int(kept.sum())) and z.shape == kept.shape
    assert torch.equal(result.model[0].weight, model[0].weight[kept])


def test_half_precision_skips_what_overflows_and_agrees_with_full_precision():
    x, _ = digits()
    found = []
    for half in (False, True):
        model, gates = gated(24)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = F.cross_entropy(model(x[:256]), digits()[1][:256])
        loss.backward()
        found.append(gates.log_alpha.grad)
    assert found[1].dtype == torch.float32
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 0.05

"""What goes wrong in loops: each is impossible, said as what it is, or shown on the certificate."""

import copy
import pickle

import pytest
import torch
from pipeline.loop import BATCHES, batches, digits, gated, mlp, train
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import lzero

SHORT = 5 * BATCHES


def small(target=0.5, **options):
    """A gated model that has been trained for a few steps, its solver and its optimizer."""
    model, gates = gated(24)
    solver = lzero.Solver(gates, target, **{"total_steps": 200, **options})
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    train(model, solver, 5, optimizer)
    return model, solver, optimizer


def backward(model, seed=9):
    x, y = next(batches(1, seed))
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


def test_no_setting_of_the_loops_optimizer_reaches_the_gates():
    ends = []
    for decay in (0.0, 0.9):
        model, gates = gated(24)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=decay)
        assert not any(p is gates.log_alpha for group in optimizer.param_groups for p in group["params"])
        solver = lzero.Solver(gates, 0.5, total_steps=200)
        torch.manual_seed(1)
        train(model, solver, 10, optimizer)
        ends.append(gates.log_alpha.detach().clone())
    assert torch.equal(*ends)


def test_a_missing_length_is_asked_for():
    _, gates = gated(24)
    with pytest.raises(lzero.SolverError, match=r"total_steps: expected the number of .* epochs \* len\(loader\)"):
        lzero.Solver(gates, target_density=0.1)


@pytest.mark.parametrize("change", [{"target": 0.4}, {"total_steps": 300}], ids=["target", "length"])
def test_a_resumed_run_that_asks_for_something_else_is_refused_unless_fresh(change):
    model, _, _ = small()
    asked = {"target": 0.5, "total_steps": 200, **change}
    target = asked.pop("target")
    again, gates = gated(24, seed=1)
    again.load_state_dict(model.state_dict())
    with pytest.raises(
        lzero.SolverError, match=r"have been trained for 5 steps by a Solver \(0\.5 of the params.*fresh"
    ):
        lzero.Solver(gates, target, **asked)
    assert lzero.Solver(gates, target, fresh=True, **asked).steps == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_batch_is_skipped_and_counted(bad):
    model, solver, _ = small()
    before = solver.gates.log_alpha.detach().clone()
    backward(model)
    solver.gates.log_alpha.grad.mul_(bad)
    assert not solver.step()
    assert solver.skipped == 1 and solver.steps == 6 and torch.equal(before, solver.gates.log_alpha)
    backward(model)
    assert solver.step() and solver.skipped == 1


def test_an_overflow_of_half_precision_is_skipped_with_its_scaler():
    model, solver, optimizer = small()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=1000)
    stepped = []
    for x, y in batches(12):
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(x), y) * 1e4).backward()
        stepped.append(bool(solver.step(scaler=scaler)))
        scaler.step(optimizer)
        scaler.update()
    assert not stepped[0] and stepped[-1] and solver.skipped == stepped.count(False)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp(24)

    def forward(self, x):
        return checkpoint(self.body, x, use_reentrant=False)


def test_another_forward_before_a_checkpointed_backward_is_an_error():
    torch.manual_seed(0)
    model = Checkpointed()
    gates = lzero.attach_gates(model, torch.zeros(2, 64))
    solver = lzero.Solver(gates, 0.5, total_steps=200)
    (x, y), (other, _) = batches(2)
    loss = F.cross_entropy(model(x), y)
    model(other)
    with pytest.raises(lzero.SolverError, match="activation checkpointing runs a gated layer again within backward"):
        loss.backward()
    backward(model)
    solver.step()
    assert solver.steps == 1


def test_lbfgs_is_refused_where_gates_are_drawn():
    model, solver, _ = small()
    x, y = next(batches(1))
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with pytest.raises(lzero.SolverError, match="LBFGS runs the loss several times a step"):
        for _ in range(3):
            optimizer.step(closure)
    backward(model)
    solver.step()


def test_a_second_step_for_one_batch_is_an_error():
    model, solver, _ = small()
    backward(model)
    solver.step()
    with pytest.raises(lzero.SolverError, match=r"step\(\) was called twice for one backward"):
        solver.step()


@pytest.mark.parametrize("steps", [1, 20, 149])
def test_a_length_too_short_to_follow_is_said_at_once(steps):
    _, gates = gated(24)
    with pytest.warns(lzero.LzeroWarning, match=rf"total_steps: {steps} optimizer steps are few .* and not epochs"):
        lzero.Solver(gates, 0.5, total_steps=steps)


@pytest.mark.parametrize("length", [{"total_steps": 150}, {"anneal_steps": 9}])
def test_a_length_that_gates_can_follow_is_not(length, recwarn):
    _, gates = gated(24)
    lzero.Solver(gates, 0.5, **length)
    assert not [w for w in recwarn if issubclass(w.category, lzero.LzeroWarning)]


def test_of_two_solvers_on_one_model_the_second_goes_on():
    model, first, optimizer = small()
    second = lzero.Solver(first.gates, 0.5, total_steps=200)
    backward(model)
    with pytest.raises(lzero.SolverError, match="another one was built on these gates since; step that one"):
        first.step()
    second.step()
    train(model, second, 3, optimizer)
    assert second.steps == 9


def test_a_target_cannot_be_set_afterwards():
    _, solver, _ = small()
    with pytest.raises(lzero.SolverError, match=r"Solver\.target_density: what a training is for stays as it is"):
        solver.target_density = 0.1
    assert solver.target_density == 0.5


@pytest.mark.parametrize(
    "wrap", [torch.nn.DataParallel, torch.compile, torch.optim.swa_utils.AveragedModel], ids=lambda wrap: wrap.__name__
)
def test_a_wrapped_model_is_told_to_attach_first(wrap):
    with pytest.raises(lzero.StructureError, match=r"is wrapped already, by .*; attach gates to the plain model first"):
        lzero.attach_gates(wrap(mlp(24)), torch.zeros(2, 64))


class Lit(nn.Module):
    """As a LightningModule: the network is one of its attributes."""

    def __init__(self, model):
        super().__init__()
        self.model, self.metric = model, nn.Identity()

    def forward(self, x):
        return self.model(x)


def test_a_module_around_the_model_is_told_what_to_purge():
    model, _, _ = small()
    with pytest.raises(
        lzero.StructureError, match=r"its gates belong to a part of it, 'model'.*lzero\.purge\(model\.model\)"
    ):
        lzero.purge(Lit(model))
    lzero.purge(Lit(model).model)


def frozen(model, solver):
    solver.gates.log_alpha.requires_grad_(False)
    backward(model)


def no_gradient(model, solver):
    with torch.no_grad():
        model(digits()[0][:4])


def evaluating(model, solver):
    model.eval()
    model(digits()[0][:4])


def trained_in_eval_mode(model, solver):
    model.eval()
    backward(model)  # evaluation gates have a gradient, of a network without noise


def no_backward(model, solver):
    model(digits()[0][:4])


def cleared(model, solver):
    backward(model)
    solver.gates.log_alpha.grad = None


WRONG = {
    "frozen": (frozen, r"the gates are frozen \(gates\.log_alpha\.requires_grad is False\)"),
    "no_grad": (no_gradient, r"the forward ran under torch\.no_grad\(\)"),
    "eval": (evaluating, r"the model ran in eval mode, where gates are not drawn; call model\.train\(\)"),
    "training in eval mode": (trained_in_eval_mode, r"the model ran in eval mode, .*call model\.train\(\)"),
    "no backward": (no_backward, r"no backward has come to them since the forward"),
    "cleared": (cleared, "their gradient was cleared after backward"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_step_without_a_gradient_says_what_it_is(case):
    model, solver, _ = small()
    prepare, message = WRONG[case]
    prepare(model, solver)
    with pytest.raises(lzero.SolverError, match=message):
        solver.step()


def test_a_backward_of_an_evaluation_beside_one_of_the_training_is_no_matter():
    model, solver, _ = small()
    backward(model.eval())
    backward(model.train())
    assert solver.step()


def gpt2():
    library = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32}
    return library.GPT2LMHeadModel(library.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def llama():
    library = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    return library.LlamaForCausalLM(library.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))


@pytest.mark.slow
@pytest.mark.parametrize("build", [gpt2, llama])
def test_decoders_of_the_default_configuration_train_and_purge_exactly(build):
    torch.manual_seed(0)
    model = build()
    assert model.config.use_cache
    words = torch.randint(50, (4, 12))
    gates = lzero.attach_gates(model, {"input_ids": words})
    kinds = {group.size for group in gates.plan}
    assert kinds & {2, 4} and kinds & {40, 96}  # heads (or groups of them), and hidden units
    solver = lzero.Solver(gates, 0.8, total_steps=100)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        model(input_ids=words, labels=words).loss.backward()
        solver.step()
        optimizer.step()
    result = lzero.purge(model)
    assert 0 <= 0.8 - result.certificate.deployed["params"] < 0.1
    assert result.certificate.largest_difference < 1e-4
    assert torch.isfinite(result.model.eval()(input_ids=words).logits).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_cast_after_attaching_is_purged(dtype):
    model, solver, _ = small()
    model.to(dtype)
    assert solver.gates.log_alpha.dtype == torch.float32
    result = lzero.purge(model)
    assert {p.dtype for p in result.model.parameters()} == {dtype}
    assert result.certificate.deployed["params"] <= 0.5


def test_plans_are_pickled_copied_and_stored(tmp_path):
    model = mlp(24)
    plan = lzero.discover(model, torch.zeros(2, 64))
    plan.save(tmp_path / "plan")
    for twin in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan), lzero.Plan.load(tmp_path / "plan")):
        assert str(twin) == str(plan) and twin.size == plan.size == 24
        gates = lzero.attach_gates(copy.deepcopy(model), twin)
        assert len(gates) == 24


@pytest.mark.parametrize("way", [copy.deepcopy, lambda held: pickle.loads(pickle.dumps(held))], ids=["copy", "pickle"])
def test_gates_results_and_certificates_are_copied_and_pickled(way):
    model, solver, _ = small()
    gates = way(solver.gates)
    assert torch.equal(gates.log_alpha, solver.gates.log_alpha) and gates.log_alpha.requires_grad
    assert torch.equal(gates.open_mask(), solver.gates.open_mask())
    result = lzero.purge(model)
    twin = way(result.model)
    x, _ = digits()
    assert torch.equal(twin.eval()(x[:3]), result.model.eval()(x[:3]))
    assert way(result.certificate) == result.certificate
    assert str(way(result.certificate)) == str(result.certificate)


def test_a_model_and_its_solver_copied_together_train_like_the_original():
    model, solver, optimizer = small()
    twin, twin_solver, twin_optimizer = copy.deepcopy((model, solver, optimizer))
    assert twin_solver.gates is lzero.gates_of(twin)
    for one in ((model, solver, optimizer), (twin, twin_solver, twin_optimizer)):
        torch.manual_seed(3)
        train(one[0], one[1], 10, one[2])
    assert torch.equal(solver.gates.log_alpha, twin_solver.gates.log_alpha)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert solver.multipliers == twin_solver.multipliers and solver.steps == twin_solver.steps == 15


@pytest.mark.parametrize("way", [copy.deepcopy, lambda held: pickle.loads(pickle.dumps(held))], ids=["copy", "pickle"])
def test_a_solver_alone_takes_its_gates_along(way):
    _, solver, _ = small()
    twin = way(solver)
    assert twin.steps == solver.steps and twin.multipliers == solver.multipliers
    assert twin.gates is not solver.gates and twin.metrics() == solver.metrics()
    for one in (solver, twin):
        one.gates.log_alpha.grad = torch.linspace(-1, 1, len(one.gates))
        one.step()
    assert torch.equal(solver.gates.log_alpha, twin.gates.log_alpha)
    assert int(twin.gates.ledger["steps"][0]) == 6


def test_the_optimizer_of_a_purged_model_comes_back_beside_load_purged():
    model, _, _ = small()
    purged = lzero.purge(model).model
    optimizer = torch.optim.Adam(purged.parameters(), 1e-3)

    def go(model, optimizer, steps, seed):
        model.train()
        for x, y in batches(steps, seed):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    go(purged, optimizer, 4, 0)
    saved = copy.deepcopy((purged.state_dict(), optimizer.state_dict()))
    again = lzero.load_purged(mlp(24), saved[0])
    second = torch.optim.Adam(again.parameters(), 1e-3)
    second.load_state_dict(saved[1])
    assert [name for name, _ in purged.named_parameters()] == [name for name, _ in again.named_parameters()]
    go(purged, optimizer, 1, 5), go(again, second, 1, 5)
    assert all(torch.equal(a, b) for a, b in zip(purged.parameters(), again.parameters(), strict=True))


def test_order_of_parameters_and_memory_format_are_kept():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 3)
    )
    model.to(memory_format=torch.channels_last)
    names = [name for name, _ in model.named_parameters()]
    gates = lzero.attach_gates(model, torch.randn(2, 3, 9, 9))
    with torch.no_grad():
        gates.log_alpha.uniform_(-4, 3)
    result = lzero.purge(model, constraints=[lzero.Constraint(0.6)])
    assert [name for name, _ in result.model.named_parameters()] == names
    for path in (0, 3, 5):
        weight = result.model[path].weight
        assert weight.is_contiguous(memory_format=torch.channels_last), path
    lzero.detach_gates(model)
    assert [name for name, _ in model.named_parameters()] == names
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)

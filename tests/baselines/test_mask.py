"""The mask: what a step changes, what no optimizer moves, and the network that it leaves."""

import pytest
import torch
from baselines.problem import Problem, at_once
from plans import lenet

import lzero
from lzero.gates import Mask


def test_a_step_changes_the_mask_and_nothing_else():
    problem = Problem(lenet)
    trainer = problem.trainer(0.5, every=1)
    problem.backward()
    grads = {name: p.grad.clone() for name, p in problem.model.named_parameters()}
    assert (trainer.gates.log_alpha.grad == 0).all()
    before, random = problem.state(), torch.get_rng_state()
    trainer.step(loss=1.0, closure=lambda: 1 / 0)
    assert trainer.gates.log_alpha.grad is None
    trainer.step()
    after = problem.state()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[2] for name in changed} == {"log_alpha", "steps"} and len(changed) == 2
    for name, parameter in problem.model.named_parameters():
        assert torch.equal(parameter.grad, grads[name])
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize(
    "build",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.5),
    ],
    ids=["adamw", "sgd"],
)
def test_no_optimizer_moves_the_mask(build):
    problem = Problem()
    problem.optimizer = build(problem.model.parameters())
    trainer = problem.trainer(0.5, total_steps=100, schedule="one-shot", begin=0.01)
    problem.train(trainer, 2)
    before = problem.gates.log_alpha.detach().clone()
    problem.train(trainer, 20)
    assert torch.equal(problem.gates.log_alpha, before)


def test_attaching_masks_leaves_the_network_as_it_is_in_train_and_eval_mode():
    torch.manual_seed(0)
    model, plan = lenet()
    x = torch.randn(5, 1, 6, 6)
    before, random = model(x), torch.get_rng_state()
    lzero.attach_gates(model, plan, estimator=Mask())
    assert torch.equal(model.train()(x), before) and torch.equal(model.eval()(x), before)
    assert torch.equal(random, torch.get_rng_state())


def test_train_and_eval_mode_see_the_same_masked_network():
    problem = Problem(lenet)
    at_once(problem, 0.6)
    trained = problem.model.train()(problem.x)
    assert torch.equal(trained, problem.model.eval()(problem.x))
    assert torch.allclose(lzero.purge(problem.model).model(problem.x), trained, atol=1e-6)


def test_gates_for_each_example_are_the_same_mask():
    problem = Problem(lenet, per_example=True)
    at_once(problem, 0.6)
    assert torch.allclose(problem.model.train()(problem.x), problem.model.eval()(problem.x), atol=1e-6)


def test_the_boundary_of_a_mask_is_that_of_deployment():
    log_alpha = torch.tensor([-1e-3, 0.0, 1e-9, 1e-3])  # sigmoid(1e-9) is 1/2 in single precision
    z, slope = Mask().sample(log_alpha, torch.zeros(2, 4))
    assert z.tolist() == [[0, 0, 0, 1]] * 2 and (slope == 0).all()
    assert torch.equal(z[0] != 0, Mask().probability(log_alpha) > 0.5)
    p = log_alpha.clone().requires_grad_()
    (found,) = torch.autograd.grad(Mask().probability(p).sum(), p)
    assert torch.allclose(found, Mask().probability_slope(log_alpha))
    assert torch.sigmoid(torch.tensor(Mask().initial(0.9))) == pytest.approx(0.9)

"""Gates that are set: no noise, no gradient, and one network in train and in eval mode."""

import pytest
import torch
from baselines.problem import Problem, at_once
from plans import lenet

import lzero
from lzero.errors import StructureError
from lzero.gates import Mask


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


def test_nothing_is_drawn_and_a_mean_is_that_of_an_open_gate():
    like = torch.randn(3, 4)
    assert torch.equal(Mask().noise(like), torch.zeros(3, 4))
    assert torch.equal(Mask().mean(like[0]), torch.ones(4))
    z, slope = Mask().evaluation(like[0])
    assert z.tolist() == (like[0] > 0).float().tolist() and not slope.any()


@pytest.mark.parametrize("wrong", [0, 1, 2.0, "0.5", None])
def test_open_probabilities_out_of_range_are_refused(wrong):
    with pytest.raises(StructureError, match=r"open_probability: expected a number in \(0, 1\), found"):
        Mask().initial(wrong)

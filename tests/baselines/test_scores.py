"""The scores that rank the gates against formulas written by hand."""

import math

import pytest
import torch
from baselines.problem import Problem, at_once
from mixtures import Listed, Network, Stacked
from plans import lenet, mlp, weights

from lzero.attach import attach_gates
from lzero.baselines import lamp_scores, magnitude_scores


def rms(tensor):
    return math.sqrt(float((tensor.double() ** 2).mean()))


def test_the_scores_of_units_and_inputs_are_the_formula_of_the_docstring():
    problem = Problem(lenet)
    model, gates = problem.model, problem.gates
    raw = {name.replace("parametrizations.", "").replace(".original", ""): p for name, p in model.named_parameters()}
    found = gates.split(magnitude_scores(gates, model))
    conv1, conv2, fc1, fc2 = (raw[f"{name}.weight"].detach() for name in ("conv1", "conv2", "fc1", "fc2"))
    for j in range(2):
        made, read = rms(conv1[j]) / rms(conv1), rms(conv2[:, j]) / rms(conv2)
        assert float(found["conv1"][j]) == pytest.approx(math.sqrt((made**2 + read**2) / 2), rel=1e-9)
        made, read = rms(conv2[j]) / rms(conv2), rms(fc1[:, 4 * j : 4 * j + 4]) / rms(fc1)
        assert float(found["conv2"][j]) == pytest.approx(math.sqrt((made**2 + read**2) / 2), rel=1e-9)
        made, read = rms(fc1[j]) / rms(fc1), rms(fc2[:, j]) / rms(fc2)
        assert float(found["fc1"][j]) == pytest.approx(math.sqrt((made**2 + read**2) / 2), rel=1e-9)
    for j in range(8):
        assert float(found["fc1.input"][j]) == pytest.approx(rms(fc1[:, j]) / rms(fc1), rel=1e-9)
    for values in found.values():
        assert float((values**2).mean()) == pytest.approx(1.0)


def test_scores_ignore_the_scale_of_a_layer_and_its_bias():
    problem = Problem(lenet)
    before = magnitude_scores(problem.gates, problem.model)
    with torch.no_grad():
        problem.model.fc1.parametrizations.weight.original.mul_(7.0)
        problem.model.fc1.bias.add_(100.0)
    assert torch.allclose(magnitude_scores(problem.gates, problem.model), before)


def test_scores_are_those_of_the_raw_weights_under_any_mask():
    problem = Problem(lenet)
    before = magnitude_scores(problem.gates, problem.model)
    with torch.no_grad():
        problem.gates.log_alpha.fill_(-3.0)
    assert torch.equal(magnitude_scores(problem.gates, problem.model), before)


def test_single_weights_are_ranked_by_their_absolute_value_over_all_layers():
    problem = Problem(weights)
    values = torch.cat([getattr(problem.model, n).parametrizations.weight.original.flatten() for n in ("fc1", "fc2")])
    found = magnitude_scores(problem.gates, problem.model)
    assert torch.allclose(found, values.detach().abs().double() / rms(values.detach()))


def test_layer_adaptive_scores_are_squares_over_the_sum_of_those_as_large():
    problem = Problem(weights)
    gates = problem.gates
    magnitude = magnitude_scores(gates, problem.model)
    found = lamp_scores(gates, magnitude)
    for name, values in gates.split(magnitude).items():
        for one, score in zip(values.tolist(), gates.split(found)[name].tolist(), strict=True):
            assert score == pytest.approx(one**2 / sum(v**2 for v in values.tolist() if v >= one))
        assert float(gates.split(found)[name].max()) == 1.0


def test_random_masks_are_those_of_their_seed_alone():
    def mask(seed, scores):
        torch.manual_seed(scores)
        problem = Problem(lambda: mlp((20, 30, 20, 3)))
        state = torch.get_rng_state()
        at_once(problem, 0.3, criterion="random", seed=seed)
        assert torch.equal(state, torch.get_rng_state())
        return problem.gates.open_mask()

    assert torch.equal(mask(1, 3), mask(1, 4))
    assert not torch.equal(mask(1, 3), mask(2, 3))


def test_random_scores_are_drawn_once():
    problem = Problem(lambda: mlp((20, 30, 20, 3), input_gates=False))
    trainer = problem.trainer(0.2, criterion="random", every=1)
    before = trainer.scores().clone()
    problem.train(trainer, 10)
    assert torch.equal(trainer.scores(), before)
    assert len(torch.unique(before)) == len(problem.gates)


def test_experts_are_worth_what_their_matrices_are():
    torch.manual_seed(0)
    model = Network(Listed(top=0), Stacked())
    listed, stacked = ({n: p.detach().clone() for n, p in layer.named_parameters()} for layer in model.layers)
    gates = attach_gates(model, torch.randn(20, 4), granularity="experts", rescale=False)
    found = gates.split(magnitude_scores(gates, model))
    inside = {leaf: [rms(listed[f"experts.{j}.{leaf}.weight"]) ** 2 for j in range(5)] for leaf in ("up", "down")}
    for j in range(5):
        square = rms(listed["gate.weight"][j]) ** 2 / rms(listed["gate.weight"]) ** 2
        square += sum(squares[j] / (sum(squares) / 5) for squares in inside.values()) / 2
        assert float(found["layers.0.gate"][j]) == pytest.approx(math.sqrt(square / 2), rel=1e-6)
        names = ("router.weight", "up", "down", "shift")
        squares = [rms(stacked[name][j]) ** 2 / rms(stacked[name]) ** 2 for name in names]
        assert float(found["layers.1.router"][j]) == pytest.approx(math.sqrt(sum(squares) / 4), rel=1e-6)

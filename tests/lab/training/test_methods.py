"""Methods: every one has its gates and its trainer, and takes the arguments of its own solver only."""

import pytest

from lzero.baselines.magnitude import Magnitude
from lzero.solver import Elbo, Penalty, Solver
from lzero_lab.errors import DataError
from lzero_lab.training import methods
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

SEAMS = {
    "constrained": (Solver, {"target": 0.3}),
    "penalized": (Penalty, {"coefficient": 1.0}),
    "elbo": (Elbo, {"estimator": "log_normal"}),
    "magnitude": (Magnitude, {"estimator": "mask", "target": 0.3}),
}


@pytest.mark.parametrize("method", SEAMS)
def test_a_method_has_its_seam(data, method):
    kind, fields = SEAMS[method]
    training = Training(Recipe(method=method, steps=4, **fields), data)
    assert type(training.trainer) is kind and type(training.gates.estimator) is type(
        methods.ESTIMATORS[training.recipe.estimator]
    )


@pytest.mark.parametrize("method", ["dense", "same_size"])
def test_a_method_without_gates_has_none(data, method):
    training = Training(Recipe(method=method, target=0.5), data)
    assert training.gates is None and training.trainer is None


@pytest.mark.parametrize("solver", [{"dual": "nupi"}, {"dual_lr": 0.1, "two_sided": False}, {"anneal_steps": 7}])
def test_arguments_of_the_solver_are_taken(solver):
    methods.check(Recipe(target=0.3, solver=tuple(solver.items())))


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        ({"anneal_steps": "x"}, "solver, anneal_steps: expected a whole number, found 'x'"),
        ({"optimizer": None}, "solver: 'constrained' has no argument 'optimizer'"),
        ({"constraints": []}, "solver: 'constrained' has no argument 'constraints'"),
    ],
)
def test_other_values_and_what_the_recipe_says_itself_are_refused(solver, message):
    with pytest.raises(DataError, match=message):
        methods.check(Recipe(target=0.3, solver=tuple(solver.items())))


def test_an_unknown_estimator_lists_the_known():
    with pytest.raises(DataError, match="estimator: no 'arms'; there are: hard_concrete, arm, ar, straight_through"):
        methods.check(Recipe(target=0.3, estimator="arms"))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            Recipe(target=0.3, solver=(("foo", 1),)),
            "solver: 'constrained' has no argument 'foo'; it takes anneal_steps",
        ),
        (Recipe(method="penalized", solver=(("dual", "sgd"),)), "solver: 'penalized' has no argument 'dual'"),
        (Recipe(target=0.3, solver=(("gate_lr", 0.1),)), "solver: 'constrained' has no argument 'gate_lr'"),
        (Recipe(target=0.3, solver=(("finetune", 0.1),)), "solver: 'constrained' has no argument 'finetune'"),
        (Recipe(), "target: a constrained training needs one"),
    ],
)
def test_an_argument_that_the_method_does_not_take_is_refused(data, recipe, message):
    with pytest.raises(DataError, match=message):
        Training(recipe, data)


def test_only_a_penalty_with_a_target_is_settled_on_it_at_the_end():
    (asked,) = methods.asked_at_the_end(Recipe(method="penalized", coefficient=1.0, target=0.3))
    assert asked.target == 0.3
    assert methods.asked_at_the_end(Recipe(method="penalized", coefficient=1.0)) is None
    assert methods.asked_at_the_end(Recipe(target=0.3)) is None

"""Gated models to purge, with random gates and a budget that rides with them."""

import dataclasses

import torch

import lzero
from lzero.attach import attach_gates
from lzero.cost import Cost


def gated(case, spread=2.0, seed=0, dtype=torch.float32):
    """A gated model with random gates, gradients, hooks and a moved random state."""
    torch.manual_seed(seed)
    model, plan = case()
    model.to(dtype)
    gates = attach_gates(model, dataclasses.replace(plan, example_inputs=plan.example_inputs.to(dtype)))
    with torch.no_grad():
        gates.log_alpha.normal_(-1.6, spread)
    return model, gates, gates.plan.example_inputs


def solver_of(gates, *args, **options):
    """A solver whose budget rides with the gates; it is not stepped."""
    args = args or (wanted(gates),)
    return lzero.Solver(gates, *args, **{"anneal_steps": 1, "fresh": True, **options})


def wanted(gates, fraction=0.4, measure="params"):
    least = float(Cost(gates, measure).fraction(gates.floor()))
    return least + (1 - least) * fraction

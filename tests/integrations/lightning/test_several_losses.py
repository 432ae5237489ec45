"""Gates among several losses: they have the gradient of the losses that their weights have a gradient of."""

import pytest
import torch
from torch import nn

import lzero
from lzero.integrations.lightning.several_losses import SeveralLosses

X = torch.rand(8, 6)


class Wrapped:
    def __init__(self, optimizer):
        self.optimizer = optimizer


@pytest.fixture
def parts():
    """A gated generator, its gates, a critic, an optimizer of each, and what watches them."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    critic = nn.Linear(6, 1)
    gates = lzero.attach_gates(generator, X, open_probability=0.5)
    optimizers = [torch.optim.SGD(part.parameters(), 0.1) for part in (generator, critic)]
    return generator, gates, critic, optimizers, SeveralLosses(generator, gates, optimizers)


def backward(parts):
    generator, _, critic, _, losses = parts
    losses.before_backward()
    critic(generator(X)).sum().backward()
    return losses.after_backward()


def test_which_optimizers_move_the_gates(parts):
    generator, gates, _, (own, other), losses = parts
    assert losses.moves(own) and losses.moves(Wrapped(own)) and not losses.moves(other)
    for parameter in generator.parameters():
        parameter.requires_grad_(False)  # gates on frozen weights: whatever is stepped
    assert SeveralLosses(generator, gates, [other]).moves(other)


@pytest.mark.parametrize("to_none", [True, False])
def test_what_clears_the_weights_clears_the_gates(parts, to_none):
    _, gates, _, (own, _), _ = parts
    assert backward(parts)
    first = gates.log_alpha.grad.clone()
    assert first.any()
    own.zero_grad(set_to_none=to_none)
    parts[4].before_backward()
    left = gates.log_alpha.grad
    assert left is None if to_none else not left.any()


def test_what_accumulates_is_kept(parts):
    _, gates, _, _, _ = parts
    backward(parts)
    first = gates.log_alpha.grad.clone()
    parts[4].before_backward()
    assert torch.equal(gates.log_alpha.grad, first)


def test_frozen_weights_have_frozen_gates(parts):
    generator, gates, _, _, losses = parts
    weights = list(generator.parameters())
    for kept in (None, torch.full_like(gates.log_alpha, 0.25)):
        gates.log_alpha.grad = None if kept is None else kept.clone()
        for parameter in weights:
            parameter.requires_grad_(False)
        assert losses.frozen and not backward(parts)
        found = gates.log_alpha.grad
        assert found is None if kept is None else torch.equal(found, kept)
        for parameter in weights:
            parameter.requires_grad_(True)
        assert not losses.frozen

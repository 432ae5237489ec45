"""Fewer gates: one tensor still, with all that belongs to each gate."""

import torch
from compacting import Net, X

import lzero
from lzero.gates.narrow import narrow, narrow_ledger
from lzero.gates.whole import Whole
from lzero.plan.narrowed import narrowed


def test_gates_keep_what_is_theirs():
    torch.manual_seed(0)
    model = Net().double()
    gates = lzero.attach_gates(model, X[:2])
    solver = lzero.Solver(gates, 0.4, total_steps=300)
    with torch.no_grad():
        gates.log_alpha.normal_()
    gates.hold(gates.open_mask())
    log_alpha, values, held = gates.log_alpha, gates.log_alpha.detach().clone(), gates.held.clone()
    gates.ledger.write(**{"optimizer.exp_avg": values.clone()}, settled=torch.zeros(len(gates)))
    keep = torch.arange(len(gates)) % 3 != 1
    masks = {name: mask.clone() for name, mask in gates.split(keep).items()}
    whole = Whole(gates.plan, torch.arange(len(gates)), {}, 0)
    narrow(gates, narrowed(gates.plan, masks), keep, whole)
    narrow_ledger(gates, keep)
    assert gates.log_alpha is log_alpha and log_alpha.requires_grad and torch.equal(log_alpha, values[keep])
    assert torch.equal(gates.held, held[keep]) and torch.equal(gates.open_mask(), held[keep] != 0)
    assert gates.sizes == tuple(int(mask.sum()) for mask in masks.values()) and len(gates) == int(keep.sum())
    assert torch.equal(gates.ledger["optimizer.exp_avg"], values[keep])
    assert len(gates.ledger["settled"]) == len(keep)  # of another kind, however long it is
    assert torch.equal(gates.training_state()["left"], keep.nonzero().flatten())
    assert solver.gates is gates

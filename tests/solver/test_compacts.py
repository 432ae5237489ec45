"""What a solver accepts to take units out."""

import pytest
import torch
from compacting import gated

import lzero
from lzero.solver.compacts import Compacts, checked_compaction


def test_a_compaction_of_the_same_gates_or_none():
    (model, gates), (other, _) = gated(), gated()
    mine, theirs = (lzero.Compaction(net, torch.optim.SGD(net.parameters(), 0.1)) for net in (model, other))
    assert isinstance(mine, Compacts)
    assert checked_compaction(None, gates) is None and checked_compaction(mine, gates) is mine
    with pytest.raises(lzero.SolverError, match="other gates"):
        checked_compaction(theirs, gates)
    with pytest.raises(lzero.SolverError, match="found 'auto'"):
        checked_compaction("auto", gates)

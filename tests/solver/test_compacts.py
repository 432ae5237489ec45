"""What a solver accepts to take units out."""

import pytest
from compacting import gated

import lzero
from lzero.solver.compacts import Compacts, checked_compaction


def test_a_compaction_of_the_same_gates_or_none():
    (model, gates), (other, _) = gated(), gated()
    mine = lzero.Compaction(model)
    assert isinstance(mine, Compacts)
    assert checked_compaction(None, gates) is None and checked_compaction(mine, gates) is mine
    with pytest.raises(lzero.SolverError, match="other gates"):
        checked_compaction(lzero.Compaction(other), gates)
    with pytest.raises(lzero.SolverError, match="found 'auto'"):
        checked_compaction("auto", gates)

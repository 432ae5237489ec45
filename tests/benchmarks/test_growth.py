"""The benchmark of growth, of tiny chains: every size once, and the page of it."""

import growth
import pytest
import torch
from kept import read


@pytest.fixture
def small(monkeypatch):
    """Two sizes an axis; threads as they were."""
    monkeypatch.setattr(growth, "SIZES", {"width": [(2, 4), (2, 8)], "depth": [(3, 4)], "groups": [(2, 6)]})
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_chains_have_so_many_layers_and_parameters():
    model = growth.chain(3, 5)
    assert [tuple(p.shape) for p in model.parameters() if p.dim() == 2] == [(5, growth.IN), (5, 5), (5, 5), (10, 5)]


def test_every_size_is_measured_once(small, tmp_path):
    arguments = ["--repeats", "2", "--out", str(tmp_path / "a.csv")]
    growth.main([*arguments, "--most", "4"])
    growth.main(arguments)
    rows = read(growth.Row, tmp_path / "a.csv")
    assert [(row.axis, row.size) for row in rows] == [("width", 4), ("depth", 3), ("groups", 2), ("width", 8)]
    assert all(min(row.dense_ms, row.ratio, row.solver_ms, row.compact, row.purge) > 0 for row in rows)
    assert "| width | 2 x 8 |" in (tmp_path / "a.md").read_text() and (tmp_path / "a.png").stat().st_size > 1000

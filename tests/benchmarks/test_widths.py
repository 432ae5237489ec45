"""The benchmark of widths, of a small network: what it purges, and the file that it goes on with."""

import pytest
import torch
import widths
from kept import read
from networks import CONTEXT, GPT, Network


@pytest.fixture
def small(monkeypatch):
    """A language model of one narrow block in the place of all networks; threads and denormals as they were."""
    monkeypatch.setattr(widths, "NETWORKS", {"GPT": Network(lambda: GPT(16, 2, 1), 2, (CONTEXT,), ("unit",), {})})
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_what_is_purged_has_such_widths_and_the_same_gates_each_time(small):
    dense = widths.NETWORKS["GPT"].build().eval()
    x, _ = widths.NETWORKS["GPT"].data(batch=2)
    for number in (1, 8):
        model, shipped = widths.purged(dense, x, 0.8, number)
        again, _ = widths.purged(dense, x, 0.8, number)
        assert shipped <= 0.8 and model.blocks[0].up.out_features % number == 0 < model.blocks[0].up.out_features
        assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))


def test_rows_are_appended_and_measured_once(small, tmp_path, capsys):
    arguments = ["--only", "GPT", "--densities", "0.8", "--batches", "1", "2", "--repeats", "2", "--out"]
    for round_to in ("1", "8", "8"):
        widths.main([*arguments, str(tmp_path / "a.csv"), "--round-to", round_to])
    rows = read(widths.Row, tmp_path / "a.csv")
    assert [(row.batch, row.round_to) for row in rows] == [(1, 1), (2, 1), (1, 8), (2, 8)]
    assert all(row.of_macs == pytest.approx(row.shipped / row.ratio, rel=1e-3) and row.dense > 0 for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_the_staircase_has_a_row_for_every_width(tmp_path):
    arguments = ["--only", "staircase", "--widths", "2", "4", "--repeats", "2", "--out", str(tmp_path / "a.csv")]
    widths.main(arguments)
    widths.main(arguments)
    assert [(row.asked, row.shipped) for row in read(widths.Row, tmp_path / "a.csv")] == [(2, 0.25), (4, 1)]


def test_eager_and_compiled_have_rows_and_tables_of_their_own(small, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)
    arguments = ["--only", "GPT", "--densities", "0.8", "--batches", "1", "--repeats", "2", "--round-to", "8"]
    for more in ([], ["--compile"], ["--compile"]):
        widths.main([*arguments, *more, "--out", str(tmp_path / "a.csv")])
    assert [row.mode for row in read(widths.Row, tmp_path / "a.csv")] == ["eager", "compiled"]
    page = (tmp_path / "a.md").read_text()
    assert page.index("## Eager") < page.index("## Compiled")

"""Figures on disk: the same bytes for the same rows, and whole or not at all."""

import os

import pytest
from plots.rows import FIGURES, LAYERS

from lzero import plots
from lzero.errors import RecordError


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_rows_give_the_same_bytes(tmp_path, suffix):
    paths = [plots.save(FIGURES["dynamics"]()[0], tmp_path / name / f"figure.{suffix}", dpi=50) for name in "ab"]
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_text("old")
    figure, _ = plots.architecture(LAYERS)

    def fail(target, **_):
        target.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(figure, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["figure.png"]
    with pytest.raises(RecordError, match=r"ends in '\.gif'; use one of \.png, \.svg, \.pdf"):
        plots.save(figure, tmp_path / "figure.gif")

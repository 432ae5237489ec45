"""The benchmark of latency: rows that are there are not measured again, and MACs are sought by their latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import latency
import pytest
import torch
from networks import NETWORKS


def row(**values: Any) -> dict[str, Any]:
    key = {"network": "ViT", "batch": 1, "target": 0.25, "budget": "macs", "seed": 0}
    return {**dict.fromkeys(latency.COLUMNS, ""), **key, **values}


def test_rows_are_found_by_what_they_are_of(tmp_path: Path) -> None:
    path = tmp_path / "latency.csv"
    assert latency.read(path) == {}
    latency.append(path, row(measured=0.123456789))
    latency.append(path, row(budget="latency", target=0.5))
    found = latency.read(path)
    assert list(found) == [latency.keyed("ViT", 1, 0.25, "macs", 0), latency.keyed("ViT", 1, 0.5, "latency", 0)]
    assert found["ViT", "1", "0.25", "macs", "0"]["measured"] == "0.12346"
    assert len(path.read_text().splitlines()) == 3


def test_the_page_says_how_many_cells_are_near(tmp_path: Path) -> None:
    path = tmp_path / "latency.csv"
    shares = {"asked": 0.5, "by_table": 0.5, "macs": 0.3, "error": 0.1, "dense_error": 0.05, "machine": "here"}
    for batch, measured in ((1, 0.46), (32, 0.44)):
        latency.append(path, row(**shares, batch=batch, budget="latency", measured=measured))
    latency.append(path, row(**shares, batch=32, budget="macs", measured=0.52, trainings=2))
    latency.write_page(path)
    page = path.with_suffix(".md").read_text()
    assert "**1 of 2 cells" in page and "| 44.0% | -12.0% |" in page and "| 52.0% | 10.00% | 2 | 5.00% |" in page


@pytest.mark.parametrize("target", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("start", [0.05, 0.4, 0.9])
def test_the_macs_of_a_latency_are_sought(target: float, start: float) -> None:
    asked = []

    class Curve(latency.Cell):
        """A fifth of the latency is there without a MAC."""

        def __init__(self) -> None:
            pass

        def train(self, constraints: Any) -> dict[str, Any]:
            asked.append(constraints[0].target)
            return {"by_table": 0.2 + 0.8 * asked[-1]}

    found = Curve().by_macs(target, start)
    errors = [abs(0.2 + 0.8 * macs - target) for macs in asked]
    assert found["trainings"] == len(asked) <= latency.TRIES and found["asked"] == asked[-1]
    assert errors[-1] <= latency.NEAR * target or len(asked) == latency.TRIES
    assert errors[-1] == min(errors)


def test_a_target_below_the_floor_is_raised() -> None:
    cell = latency.Cell.__new__(latency.Cell)
    cell.floor = 0.4
    assert cell.asked(0.5) == 0.5 and cell.asked(0.25) == pytest.approx(0.46)


def test_made_up_images_can_be_learned() -> None:
    data = latency.made_up((1, 28, 28), 400)
    torch.manual_seed(0)
    model = NETWORKS["MLP"].build()
    before = latency.error_of(model, data)
    latency.train(model, data, 30, 0, 32)
    assert latency.error_of(model, data) < before - 0.2

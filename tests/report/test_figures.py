"""Which figures a report has, by what its rows have, and what is said of them."""

import re
from itertools import pairwise

import pytest
from contents import FRONT, MODELS, content, rows, several

from lzero.report import Content, figures


def titles(pictures):
    return [picture.title for picture in pictures]


def seen(picture):
    return re.search(r'aria-label="([^"]+)"', picture.svg)[1].replace("\u202f", " ")


def test_a_training_has_four_panels_its_gates_and_its_course():
    given = content()
    assert titles(figures.dynamics(given)) == ["Density", "Multiplier", "Training loss", "Error"]
    assert titles(figures.histogram(given)) == ["Gates over time"]
    assert titles(figures.course(given)) == ["Along the training"]
    assert "from 85.33 % to 12.00 %" in seen(figures.dynamics(given)[0])
    assert "From an error of 58.00 % at a density of 85.33 % to 3.00 % at 12.00 %" in seen(figures.course(given)[0])


def test_without_rows_there_is_no_figure():
    empty = Content("a model")
    assert [*figures.dynamics(empty), *figures.histogram(empty), *figures.course(empty), *figures.points(empty)] == []
    bare = Content("a model", rows=[{"note": "no numbers"}])
    assert [*figures.dynamics(bare), *figures.histogram(bare), *figures.course(bare)] == []


def test_the_histogram_says_how_many_gates_are_undecided():
    (picture,) = figures.histogram(content(rows=rows(10)))
    undecided = 18 * (36 - 30) / (18 * 6 + 2 * 30)
    assert (
        f"{100 * undecided:.2f}" in picture.caption and f"{18 * 33 + 2 * 3:,}, at the end 168 gates" in picture.caption
    )
    steady = [{"epoch": epoch, "p_00": 4, "p_19": 6} for epoch in (1, 2)]
    (picture,) = figures.histogram(content(rows=steady))
    assert "The share of 10 gates" in picture.caption and "0.00" in picture.caption


def test_several_budgets_are_lines_of_their_own():
    density, multiplier, *_ = figures.dynamics(content(rows=several()))
    for name in ("params", "macs", "params, fc1"):
        assert f">{name}<" in density.svg and f">{name}<" in multiplier.svg
    assert "One line a budget" in density.caption and "params: from" in seen(density)
    parts = figures._by_budget(several())
    assert [row["target"] for row in parts["macs"]] == [pytest.approx(0.3)] * 6
    assert parts["params"][-1]["deployed"] == pytest.approx(several()[-1]["deployed"])


def test_of_many_budgets_those_that_press_most_are_drawn():
    many = [{"epoch": 1, **{f"params, fc{n}:{c}": float(n) for n in range(30) for c in ("target", "multiplier")}}]
    many = [{**row, **{f"params, fc{n}:strict_violation": 0.0 for n in range(30)}} for row in many * 2]
    many[1] = {**many[1], "epoch": 2}
    assert list(figures._by_budget(many)) == [f"params, fc{n}" for n in range(24, 30)]
    assert "6 of 30: those with the largest multipliers" in figures.dynamics(content(rows=many))[0].caption


def test_a_front_has_a_figure_for_each_measure():
    pictures = figures.points(content(points=FRONT))
    assert titles(pictures) == ["Against parameters", "Against MACs", "Against milliseconds"]
    assert "not equal to training at each" in pictures[0].caption


def test_models_are_compared_where_there_are_several():
    assert titles(figures.points(content(points=MODELS))) == ["Error against density", "Shipped against asked"]
    assert titles(figures.points(content(points=MODELS[:2]))) == ["Error against density"]
    assert titles(figures.points(content(points=MODELS[:1]))) == []
    assert titles(figures.points(content(points=[{"method": "a"}]))) == []


def test_thinned_rows_keep_both_ends():
    numbers = [{"row": number} for number in range(1001)]
    thin = figures.thinned(numbers, 50)
    assert len(thin) == 50 and thin[0] == numbers[0] and thin[-1] == numbers[-1]
    gaps = {b["row"] - a["row"] for a, b in pairwise(thin)}
    assert gaps <= {20, 21}
    assert figures.thinned(numbers[:50], 50) == numbers[:50]


def test_a_target_that_changes_is_no_line():
    assert figures.targets(rows()) == [0.1234]
    assert figures.targets([*rows(), *rows(2, target=0.5)]) == []


def test_a_time_that_does_not_increase_is_passed_over():
    repeated = [{"epoch": 1, "step": step, "loss": 1.0, "p_00": 1} for step in (1, 2, 3)]
    assert figures._timed(repeated) == [{"step": row["step"], "loss": 1.0, "p_00": 1} for row in repeated]
    assert titles(figures.histogram(content(rows=repeated))) == ["Gates over time"]
    again = [{"epoch": "first", "loss": 1.0}, {"epoch": "second", "loss": 0.5}]
    assert titles(figures.dynamics(content(rows=again))) == ["Training loss"]

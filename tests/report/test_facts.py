"""The certificate in words, the facts that come first, and all timings."""

import pytest
from contents import certificate, content, table

from lzero.latency.again import Latency
from lzero.report import Content, Timing, facts


def test_each_budget_is_a_row_and_says_whether_it_is_met():
    found = facts.budgets(certificate(deployed={"params": 0.1234, "macs, conv2": 0.5}))
    assert [(row.name, row.met) for row in found] == [("params", True), ("macs, conv2", False)]
    assert [row.spare for row in found] == ["0.81", "0.27"]
    (free,) = facts.budgets(certificate(asked={}, deployed={"params": 0.3}, spare={}))
    assert (free.asked, free.met, free.spare) == ("–", None, "–")


@pytest.mark.parametrize(
    ("round_to", "words"),
    [
        (1, "as they come"),
        (8, "whole or multiples of 8"),
        ({"": 8, "head": 1}, "whole or multiples of 8; as they come at head"),
        ({}, "as they come"),
    ],
)
def test_widths_in_words(round_to, words):
    assert [fact.value for fact in facts.checks(certificate(round_to=round_to)) if fact.name == "Widths"] == [words]


def test_what_was_not_verified_is_said():
    assert facts.checks(certificate(largest_difference=None))[-1].value == "not verified"
    assert facts.checks(certificate())[-1].value == "3.2e-07"


def test_what_comes_first():
    names = {fact.name: fact for fact in facts.headline(content())}
    assert list(names) == [
        "Shipped, params", "Shipped, macs, conv2", "Parameters", "MACs", "Tensors", "Test error", "One forward"
    ]  # fmt: skip
    sums = table()
    assert names["MACs"].value == f"{sums.total('macs'):,}" and names["MACs"].beside == "of 31,000"
    assert names["One forward"].value == "0.5\u202fms"
    assert facts.headline(Content("a model")) == []
    (shipped, _) = facts.headline(Content("a model", certificate=certificate(asked={}, latency=None)))
    assert shipped.beside == "nothing was asked for"


def test_timings_of_a_budget_come_first_and_those_that_were_not_taken_are_left_out():
    assert [timing.after for timing in facts.timings(content())] == [2.375, 2.5, 0.5]
    once = certificate(latency=Latency(6.0, 2.0, None, None, "cpu", 1, 8))
    found = facts.timings(Content("a model", certificate=once))
    assert found == [Timing("by the table (batch 8, 1 thread, cpu)", 6.0, 2.0)]

"""Texts of the command line: what they are taken for, and how they are refused."""

import argparse

import pytest

from lzero_lab.cli import texts


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (texts.positive(int), "3", 3),
        (texts.positive(float), "1e-9", 1e-9),
        (texts.density, "1", 1.0),
        (texts.distance, "0.01", 0.01),
        (texts.seed, str(2**64 - 1), 2**64 - 1),
        (texts.scope, "layer", "layer"),
        (texts.scope, "fc1=0.3, fc2=1", {"fc1": 0.3, "fc2": 1.0}),
        (texts.further_budget, "macs=0.1", ("macs", 0.1)),
        (texts.model, "wrn-16-4", "wrn-16-4"),
        (texts.device, "cpu", "cpu"),
    ],
)
def test_texts_that_are_taken(type_, text, value):
    assert type_(text) == value


@pytest.mark.parametrize(
    ("type_", "text", "message"),
    [
        (texts.positive(int), "0", "expected a number above 0, found 0"),
        (texts.positive(float), "nan", "expected a number above 0, found nan"),
        (texts.density, "0", r"expected a density in \(0, 1\]"),
        (texts.distance, "1", r"expected a distance in \(0, 1\)"),
        (texts.seed, str(2**64), "expected a seed from"),
        (texts.scope, "=0.3", "expected model, layer or"),
        (texts.scope, "fc1=much", "expected model, layer or"),
        (
            texts.further_budget,
            "flops=0.1",
            "expected params, macs, gates, each with =0.1 or the like, found 'flops=0.1'",
        ),
        (texts.further_budget, "macs", "expected params, macs, gates, each with"),
        (texts.further_budget, "macs=2", r"expected a density in \(0, 1\]"),
        (texts.model, "wrn-16", "expected mlp, lenet5, resnet, resnet20 or wrn-<depth>-<width>"),
        (texts.device, "cuda:99", "PyTorch sees no such GPU here; use --device cpu"),
        (texts.device, "meta", "expected cpu or cuda, found 'meta'"),
    ],
)
def test_texts_that_are_refused(type_, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        type_(text)

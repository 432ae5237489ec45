"""Ratios of two times, measured in turns in one process, so that what disturbs one disturbs the other."""

import statistics
import time

import torch

BLOCK = 0.015  # seconds: long against the clock and a glitch, short against what changes on a machine


def seconds_of(step, device="cpu", block=1):
    """Wall time of a call, the mean over a ``block`` of them, the device's work included."""
    started = time.perf_counter()
    for _ in range(block):
        step()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / block


def paired(base, other, repeats, device="cpu", warm=5):
    """Pairs of seconds of a call, ``repeats`` of them, each the mean over a block of at least ``BLOCK`` seconds.

    The blocks come in turns, and which is the first of a pair changes by turns as well.
    """
    warmed = [(seconds_of(base, device), seconds_of(other, device)) for _ in range(warm)]
    block = max(1, round(BLOCK / min(first for first, _ in warmed)))
    pairs = []
    for turn in range(repeats):
        order = (other, base) if turn % 2 else (base, other)
        pair = [seconds_of(step, device, block) for step in order]
        pairs.append(tuple(pair[::-1] if turn % 2 else pair))
    return pairs


def quartiles(values):
    """Median, lower and upper quartile."""
    values = sorted(values)
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high

"""Ratios of two times, measured in turns in one process, so that what disturbs one disturbs the other."""

import statistics
import time

import torch


def seconds_of(step, device="cpu"):
    """Wall time of one call, the device's work included."""
    started = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def paired(base, other, repeats, device="cpu", warm=5):
    """Pairs of seconds, ``repeats`` of them: the two in turns, the first one of a pair by turns as well."""
    for _ in range(warm):
        seconds_of(base, device), seconds_of(other, device)
    pairs = []
    for turn in range(repeats):
        if turn % 2:
            second = seconds_of(other, device)
            pairs.append((seconds_of(base, device), second))
        else:
            first = seconds_of(base, device)
            pairs.append((first, seconds_of(other, device)))
    return pairs


def quartiles(values):
    """Median, lower and upper quartile."""
    values = sorted(values)
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high

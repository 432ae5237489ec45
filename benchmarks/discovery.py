"""What discovery, attaching and purging cost: seconds, and peak memory beyond the model's own as a multiple of it.

    python benchmarks/discovery.py

Transformers of full size with random float32 weights (BERT-base, GPT-2, ViT-B/16), and plain networks of many layers,
each in a process of its own. Memory is that of a second process (Linux), reset before every measurement, whose
allocator gives back at once what is freed: what is in use, and not what glibc holds on to for later.
"""

import ctypes
import multiprocessing
import os
import time

TRANSFORMERS = ("BERT-base", "GPT-2 small", "ViT-B/16")
DEPTHS = (15, 60, 150)
VERBS = ("discover", "attach", "purge")


def resident(field):
    """VmRSS (now) or VmHWM (the most since the last reset) of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{field}:"))


def measured(work):
    """What ``work()`` returns, its seconds, and its peak memory beyond what was in use before."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed before must not hide what is taken now
    with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
        peak.write("5")
    before, started = resident("VmRSS"), time.perf_counter()
    made = work()
    return made, time.perf_counter() - started, resident("VmHWM") - before


def transformer(name):
    import torch
    import transformers

    tokens = torch.randint(0, 1000, (1, 8))
    if name == "BERT-base":
        return transformers.BertModel(transformers.BertConfig()), {"input_ids": tokens}
    if name == "GPT-2 small":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False)), {"input_ids": tokens}
    return transformers.ViTModel(transformers.ViTConfig()), {"pixel_values": torch.randn(1, 3, 224, 224)}


def plain(depth, width):
    import torch
    from torch import nn

    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 4)), torch.randn(2, width)


def costs(name):
    """Groups, then (seconds, multiple of the model's memory) to discover, attach and purge a transformer."""
    import warnings

    import lzero

    model, inputs = transformer(name)
    model(**inputs)  # what PyTorch sets up at its first forward is not counted
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    plan, *discovery = measured(lambda: lzero.discover(model, inputs))
    _, *attaching = measured(lambda: lzero.attach_gates(model, plan, open_probability=0.4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)
        _, *purging = measured(lambda: lzero.purge(model, constraints=[lzero.Constraint(0.5)]))
    return len(plan), [(seconds, peak / size) for seconds, peak in (discovery, attaching, purging)]


def seconds_by_depth(width):
    import lzero

    found = []
    for depth in DEPTHS:
        model, inputs = plain(depth, width)
        plan, seconds, _ = measured(lambda model=model, inputs=inputs: lzero.discover(model, inputs))
        found.append((depth, len(plan), seconds))
    return found


def alone(work, argument, environment=None):
    """``work(argument)`` in a process of its own."""
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(work, (argument,))
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    total = 0.0
    for name in TRANSFORMERS:
        groups, timed = alone(costs, name)
        _, weighed = alone(costs, name, {"MALLOC_MMAP_THRESHOLD_": "65536"})
        total += timed[0][0]
        rows = zip(VERBS, timed, weighed, strict=True)
        said = ", ".join(f"{verb} {seconds:.1f} s and {memory:.2f}x" for verb, (seconds, _), (_, memory) in rows)
        print(f"{name}: {groups} groups, {said}", flush=True)
    print(f"discover together {total:.1f} s")
    for width in (4, 16, 64):
        row = ", ".join(f"{depth} layers {seconds:.1f} s" for depth, _, seconds in alone(seconds_by_depth, width))
        print(f"plain, width {width}: {row}", flush=True)

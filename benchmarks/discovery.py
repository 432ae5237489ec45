"""Seconds and memory to discover and prove transformers of full size, with random weights: BERT-base, GPT-2, ViT-B/16.

    python benchmarks/discovery.py

Each runs in a process of its own, so that its peak is its own; the model itself is part of the peak.
"""

import multiprocessing
import resource
import time

NAMES = ("BERT-base", "GPT-2 small", "ViT-B/16")


def measure(name):
    """Name, groups, seconds and peak memory in GiB."""
    import torch
    import transformers

    import lzero

    tokens = torch.randint(0, 1000, (1, 8))
    if name == "BERT-base":
        model, inputs = transformers.BertModel(transformers.BertConfig()), {"input_ids": tokens}
    elif name == "GPT-2 small":
        model, inputs = transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False)), {"input_ids": tokens}
    else:
        model, inputs = transformers.ViTModel(transformers.ViTConfig()), {"pixel_values": torch.randn(1, 3, 224, 224)}
    started = time.perf_counter()
    plan = lzero.discover(model, inputs)
    seconds = time.perf_counter() - started
    return name, len(plan), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    total = 0.0
    for name in NAMES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            name, groups, seconds, peak = pool.apply(measure, (name,))
        total += seconds
        print(f"{name}: {groups} groups in {seconds:.1f} s, peak {peak:.2f} GiB")
    print(f"together {total:.1f} s")

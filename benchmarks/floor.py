"""How small a budget can be: reach, floor, and what half of every gate leaves, without and with the width of streams.

    python benchmarks/floor.py      # four transformers at their published sizes; some minutes, 5 GB

Random weights: what can be removed does not depend on them. Prints the table of the README.
"""

import torch
import transformers
from torch import nn

import lzero

IDS = torch.randint(0, 1000, (1, 8))


class Logits(nn.Module):
    """A model by its logits alone: what else it returns, the last states of an encoder, has to keep its width."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, **inputs):
        return self.inner(**inputs).logits


def bert():
    return transformers.BertForSequenceClassification(transformers.BertConfig()), {"input_ids": IDS}


def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config()), {"input_ids": IDS}


def t5():
    config = transformers.T5Config(num_layers=6, d_model=512, d_ff=2048, num_heads=8, use_cache=False)  # T5-small
    return Logits(transformers.T5ForConditionalGeneration(config)), {"input_ids": IDS, "decoder_input_ids": IDS}


def vit():
    config = transformers.ViTConfig(num_labels=1000)
    return transformers.ViTForImageClassification(config), {"pixel_values": torch.randn(1, 3, 224, 224)}


MODELS = {
    "BERT-base, classifier": bert,
    "GPT-2 small": gpt2,
    "T5-small, its logits": t5,
    "ViT-B/16, 1,000 classes": vit,
}


def main():
    print('| parameters at the floor | `"unit"` | `"width"` | reach | half of every gate closed |')
    print("|---|---:|---:|---:|---:|")
    for name, build in MODELS.items():
        model, inputs = build()
        unit, width = (lzero.discover(model, inputs, granularity=kind) for kind in ("unit", "width"))
        reach = " → ".join(f"{100 * plan.reachable / plan.parameters:.0f}" for plan in (unit, width))
        half = " → ".join(f"{100 * plan.left(0.5):.1f}" for plan in (unit, width))
        floors = f"{100 * unit.floor():.1f} % | {100 * width.floor():.2f} %"
        print(f"| {name} | {floors} | {reach} % | {half} % |", flush=True)


if __name__ == "__main__":
    main()

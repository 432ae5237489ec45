"""How small a budget can be: reach, floor, and what half of every gate leaves, without and with the width of streams.

    python benchmarks/floor.py      # six transformers at their published sizes; some minutes, 5 GB

Random weights: what can be removed does not depend on them. Mixtral does not fit: a twin of two narrow layers, whose
heads are as wide and shared by as many queries, tells which dims its gates own whole and how much of one a unit is, and
what is left is counted on the published shapes, which a model without values has (`Counted`). Prints the table of the
README.
"""

import math
import re
import sys

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


def whisper():
    config = transformers.WhisperConfig(use_cache=False)  # its defaults are Whisper-tiny
    sound = torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions)
    return Logits(transformers.WhisperForConditionalGeneration(config)), {
        "input_features": sound,
        "decoder_input_ids": IDS,
    }


def mixtral():
    narrow = {"hidden_size": 64, "intermediate_size": 48, "vocab_size": 1000, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128}
    config = transformers.MixtralConfig(**narrow, **heads, use_cache=False)
    return transformers.MixtralForCausalLM(config), {"input_ids": IDS}


class Counted:
    """A plan of a twin, counted on the shapes of the model that it stands for: equal layers, units as wide, but more.

    Args:
        plan: of the twin. Its gates own a dim of a tensor whole or not at all.
        model: the model, which needs no values.
    """

    def __init__(self, plan, model):
        self._shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
        self._widths = {}
        for member in (member for group in plan for member in group.members):
            if member.index.numel() != plan.shapes[member.tensor][member.dim]:
                raise ValueError(f"{member.tensor}: its dim {member.dim} is owned in part")
            self._widths[member.tensor, member.dim] = member.width
        self.parameters = sum(map(math.prod, self._shapes.values()))
        self.reachable = sum(math.prod(shape) for name, shape in self._shapes.items() if self._owned(name, shape))

    def _owned(self, name, shape):
        twin = re.sub(r"layers\.\d+", "layers.1", name)
        return {dim: self._widths[twin, dim] for dim in range(len(shape)) if (twin, dim) in self._widths}

    def left(self, share):
        """The density where every group keeps that share of its units, rounded up, and one at least."""
        total = 0
        for name, shape in self._shapes.items():
            owned = self._owned(name, shape)
            kept = {dim: max(1, math.ceil(share * (shape[dim] // width))) * width for dim, width in owned.items()}
            total += math.prod(kept.get(dim, size) for dim, size in enumerate(shape))
        return total / self.parameters

    def floor(self):
        """The density where every group keeps one."""
        return self.left(0.0)


MODELS = {
    "BERT-base, classifier": bert,
    "GPT-2 small": gpt2,
    "T5-small, its logits": t5,
    "Whisper-tiny, its logits": whisper,
    "ViT-B/16, 1,000 classes": vit,
    "Mixtral-8x7B, counted by a narrow twin": mixtral,
}
WHOLE = {
    "Mixtral-8x7B, counted by a narrow twin": lambda: transformers.MixtralForCausalLM(transformers.MixtralConfig())
}
"""The models that those of `MODELS` are twins of."""


def main():
    print('| parameters at the floor | `"unit"` | `"width"` | reach | half of every gate closed |')
    print("|---|---:|---:|---:|---:|")
    for name in sys.argv[1:] or MODELS:
        model, inputs = MODELS[name]()
        plans = [lzero.discover(model, inputs, granularity=kind) for kind in ("unit", "width")]
        if name in WHOLE:
            with torch.device("meta"):
                plans = [Counted(plan, WHOLE[name]()) for plan in plans]
        unit, width = plans
        reach = " → ".join(f"{100 * plan.reachable / plan.parameters:.0f}" for plan in plans)
        half = " → ".join(f"{100 * plan.left(0.5):.1f}" for plan in plans)
        floors = f"{100 * unit.floor():.1f} % | {max(0.01, 100 * width.floor()):.2f} %"
        print(f"| {name} | {floors} | {reach} % | {half} % |", flush=True)


if __name__ == "__main__":
    main()

"""Models whose streams are gated too: some of the zoo once more, and some that keep theirs to themselves."""

from __future__ import annotations

from dataclasses import replace

from torch import nn
from zoo.blocks import Entry, Net
from zoo.convolutional import CONVOLUTIONAL
from zoo.hugging_face import _T5, _VIT, HUGGING_FACE, TEXT, _both, _build, _images, _words
from zoo.sequences import ZOO

FAMILY = "With the width of streams"
_ONCE_MORE = (
    "ResNet, GroupNorm",
    "ConvNeXt",
    "ViT",
    "GPT",
    "Llama, shared keys",
    "nn.TransformerEncoder",
    "nn.Transformer",
    "GPT-2",
    "Llama (grouped queries)",
)


def _logits(model: str, config: str, **options: object) -> nn.Module:
    """Of a model that returns its stream too."""
    inner = _build(model, config, **options)
    return Net(lambda net, **named: net.inner(**named).logits, inner=inner)


_OF_TRANSFORMERS = {
    "BERT": Entry(FAMILY, lambda: _build("BertForSequenceClassification", "BertConfig", **TEXT), _words, 0.99),
    "ViT (Hugging Face)": Entry(
        FAMILY, lambda: _build("ViTForImageClassification", "ViTConfig", **_VIT), _images, 0.99
    ),
    "T5": Entry(FAMILY, lambda: _logits("T5ForConditionalGeneration", "T5Config", **_T5), _both, 0.99),
}
_OWN = _OF_TRANSFORMERS if HUGGING_FACE else {}
_KNOWN = {**CONVOLUTIONAL, **ZOO, **HUGGING_FACE}
_AGAIN = {name: replace(_KNOWN[name], family=FAMILY, reach=0.9) for name in _ONCE_MORE if name in _KNOWN}
WITH_WIDTH = {f"{name}, width": replace(entry, granularity="width") for name, entry in {**_AGAIN, **_OWN}.items()}

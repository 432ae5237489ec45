"""Inputs of one forward, made from the model itself: only their shapes matter to what can be gated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lzero.errors import StructureError

_EXAMPLES, _TOKENS, _SAMPLES = 2, 8, 4000


def inputs_of(model: Any) -> dict[str, Tensor]:
    """Keyword arguments of one forward of a model of Hugging Face, by ``main_input_name`` and the configuration.

    Two different examples; at most 8 token ids, within the vocabulary, none of them padding, and the last the end of a
    text where there is one. Nothing is drawn from the global generators.

    Raises:
        StructureError: an input, or a size of it, that the configuration does not tell.
    """
    name, config = getattr(model, "main_input_name", None), getattr(model, "config", None)
    if not isinstance(name, str) or name not in _MAKERS or config is None:
        raise _unknown(model, f"nothing is known of an input {name!r}")
    generator = torch.Generator().manual_seed(0)
    try:
        made = {name: _MAKERS[name](config, generator)}
        if getattr(config, "is_encoder_decoder", False):
            made["decoder_input_ids"] = _tokens(config, generator)
    except (AttributeError, TypeError, ValueError) as error:
        raise _unknown(model, f"its configuration does not tell how large {name!r} is ({error})") from error
    first = next(model.parameters())
    return {
        key: value.to(first.device, first.dtype if value.is_floating_point() else None) for key, value in made.items()
    }


def _unknown(model: Any, why: str) -> StructureError:
    return StructureError(
        f"{type(model).__name__}: no inputs to attach gates with, {why}; pass Budget(..., example_inputs=...), a dict "
        "of keyword arguments such as a batch without its labels"
    )


def _tokens(config: Any, generator: torch.Generator) -> Tensor:
    text = config.get_text_config()
    length = min(_TOKENS, getattr(text, "max_position_embeddings", None) or _TOKENS)
    special = {getattr(text, f"{kind}_token_id", None) for kind in ("pad", "bos", "eos", "sep", "cls", "mask", "unk")}
    allowed = [token for token in range(min(text.vocab_size, 1000)) if token not in special]
    choice = torch.randint(len(allowed), (_EXAMPLES, max(1, length)), generator=generator)
    words = torch.tensor(allowed)[choice]
    end, pad = getattr(text, "eos_token_id", None), getattr(text, "pad_token_id", None)
    if length > 1 and isinstance(end, int) and end != pad and end < text.vocab_size:
        words[:, -1] = end  # what classifies whole texts may look for it
    return words


def _pixels(config: Any, generator: torch.Generator) -> Tensor:
    size = getattr(config, "image_size", None)
    if size is None:
        size = 64  # convolutional networks take any
    height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
    return torch.randn(_EXAMPLES, config.num_channels, height, width, generator=generator)


def _values(config: Any, generator: torch.Generator) -> Tensor:
    """Samples of sound; of a spectrogram transformer its frames."""
    if hasattr(config, "num_mel_bins") and hasattr(config, "max_length"):
        return torch.randn(_EXAMPLES, config.max_length, config.num_mel_bins, generator=generator)
    return torch.randn(_EXAMPLES, _SAMPLES, generator=generator)


def _features(config: Any, generator: torch.Generator) -> Tensor:
    if hasattr(config, "max_source_positions") and not hasattr(config, "input_feat_per_channel"):
        return torch.randn(_EXAMPLES, config.num_mel_bins, 2 * config.max_source_positions, generator=generator)
    width = getattr(config, "input_feat_per_channel", None) or config.feature_projection_input_dim
    return torch.randn(_EXAMPLES, 64, width, generator=generator)


_MAKERS: dict[str, Callable[[Any, torch.Generator], Tensor]] = {
    "input_ids": _tokens,
    "pixel_values": _pixels,
    "input_values": _values,
    "input_features": _features,
}

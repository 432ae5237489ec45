"""Tiny models of the types of transformers, and inputs that they run on.

A configuration is made small by the names of its numbers, sub-configurations too. Where that gives no model that runs,
less is made small, and less again: see `LEVELS`. Weights are moved by noise, so that nothing is zero by initialisation.
"""

import inspect
import re
import time

import torch
from source import NotBuilt, Source, line
from transformers import AutoConfig
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

TINY = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    **dict.fromkeys(["vocab_size", "src_vocab_size", "tgt_vocab_size"], 60),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"], 64),
    **dict.fromkeys(["hidden_size", "d_model", "n_embd", "embed_dim", "word_embed_proj_dim", "activation_dim"], 32),
    **dict.fromkeys(["n_layer", "num_hidden_layers", "num_layers", "n_layers", "encoder_layers", "decoder_layers"], 2),
    **dict.fromkeys(["num_decoder_layers", "encoder_num_hidden_layers", "decoder_num_hidden_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "attention_heads", "num_heads", "n_heads", "n_head"], 4),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads"], 4),
    **dict.fromkeys(["encoder_num_attention_heads", "decoder_num_attention_heads"], 4),
    **dict.fromkeys(["encoder_num_key_value_heads", "decoder_num_key_value_heads"], 4),
    **dict.fromkeys(["intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_dim", "n_inner", "d_ff"], 48),
    **dict.fromkeys(["hidden_dim", "d_inner"], 48),
    **dict.fromkeys(["num_local_experts", "num_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size"], 24),
    **dict.fromkeys(["head_dim", "d_kv", "qk_nope_head_dim", "index_head_dim", "mamba_head_dim", "mamba_d_head"], 8),
    **dict.fromkeys(["linear_key_head_dim", "linear_value_head_dim", "state_size", "mamba_d_state"], 8),
    **dict.fromkeys(["ssm_state_size", "mamba_n_heads"], 8),
    **dict.fromkeys(["qk_rope_head_dim", "rotary_dim", "mamba_dt_rank", "time_step_rank", "conv_kernel"], 4),
    **dict.fromkeys(["linear_num_value_heads", "mamba_num_heads", "index_n_heads", "index_topk"], 4),
    **dict.fromkeys(["num_key_value_heads", "num_experts_per_tok", "linear_num_key_heads", "mamba_expand"], 2),
    **dict.fromkeys(["attn_layer_period", "expert_layer_period"], 2),
    **dict.fromkeys(["n_group", "topk_group", "first_k_dense_replace", "n_groups", "mamba_n_groups"], 1),
    **dict.fromkeys(["n_shared_experts", "decoder_sparse_step", "attn_layer_offset", "expert_layer_offset"], 1),
    **dict.fromkeys(["q_lora_rank", "kv_lora_rank", "chunk_size", "mamba_chunk_size", "sliding_window"], 16),
    "v_head_dim": 12,
    "max_source_positions": 32,
    "max_target_positions": 64,
    "attention_window": 16,
    "mamba_d_ssm": 64,
    "mlp_only_layers": [],
}
"""What a number of a configuration becomes, by its name."""

RULES = [
    (r"(num|n)_.*layers?$|_layers$|depth$", 2),
    (r"vocab", 60),
    (r"(intermediate|ffn|mlp|feedforward)_?(size|dim)", 48),
    (r"head_dim$", 8),
    (r"heads?$", 4),
    (r"(hidden|embed\w*|projection|proj|model)_(size|dim)|_dim$|channels$|_hidden_size$", 32),
    (r"^image_size$", 64),
    (r"^window_size$", 2),
]
"""The same by what a name looks like, for numbers larger than these."""

OF_TYPE = {
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True, "multi_query": False},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "jamba": {"use_mamba_kernels": False},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
}

LEVELS = ("names and looks", "a key each head", "names", "wider", "depth and vocabulary")
"""What is made small, from much to little."""

MOST_PARAMETERS = 40_000_000
MOST_SECONDS = 1

HEADS = ("SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "CAUSAL_LM")
"""The classes with a head that are tried first; the model without one comes after them, and then all other classes."""


def types():
    """All model types of the transformers that is installed, but for parts without a class in its Auto tables."""
    return sorted(kind for kind in CONFIG_MAPPING_NAMES if classes(kind))


def classes(kind):
    """Names of the model classes of a type, those to try first at the front."""
    tables = [name for name in vars(modeling_auto) if re.fullmatch(r"MODEL_(FOR_\w+_)?MAPPING_NAMES", name)]
    first = [*(f"MODEL_FOR_{head}_MAPPING_NAMES" for head in HEADS), "MODEL_MAPPING_NAMES"]
    found = []
    for table in dict.fromkeys([*first, *tables]):
        name = dict(getattr(modeling_auto, table, {})).get(kind, ())
        found += [name] if isinstance(name, str) else list(name)
    return list(dict.fromkeys(found))


def configuration(kind, level):
    """The configuration of a type, made small as far as `LEVELS[level]` says."""
    full = AutoConfig.for_model(kind)
    options = _options(full, level) | (OF_TYPE.get(kind, {}) if level < 4 else {})
    while True:
        try:
            return type(full)(**options)
        except TypeError as error:
            odd = [name for name in options if repr(name) in str(error)]
            if not odd:
                raise
            for name in odd:
                del options[name]


def _options(config, level):
    fields = config.to_dict()
    known = set(fields) | set(getattr(config, "attribute_map", {}))
    made = {}
    for name in known:
        value = fields.get(name)
        if isinstance(value, bool | dict):
            continue
        listed = isinstance(fields.get(getattr(config, "attribute_map", {}).get(name)), list | tuple)
        small = None if listed else _smaller(name, value, level)
        if small is not None:
            made[name] = small
    if "qk_rope_head_dim" in made and "head_dim" in made:
        made["head_dim"] = made["qk_rope_head_dim"]
    for name in getattr(type(config), "sub_configs", {}):
        part = getattr(config, name, None)
        if hasattr(part, "to_dict"):
            made[name] = _options(part, level) | ({"model_type": part.model_type} if part.model_type else {})
    kinds = fields.get("layer_types")
    if isinstance(kinds, list) and kinds and not isinstance(getattr(type(config), "layer_types", None), property):
        made["layer_types"] = (list(dict.fromkeys(kinds)) * 2)[:2]
    if isinstance(fields.get("depths"), list | tuple):
        made = {name: value for name, value in made.items() if not name.endswith("layers")}
    return made


def _smaller(name, value, level):
    if level == 1 and "key_value" in name and isinstance(value, int):
        return 4
    if level == 4 and not re.search(r"layers?$|vocab|token_id", name):
        return None
    if level == 3 and re.search(r"hidden_size$|d_model|n_embd|embed_dim", name):
        return 128 if isinstance(value, int) and value > 128 else None
    if name in TINY and not (isinstance(value, list | tuple) and isinstance(TINY[name], int)):
        return TINY[name]
    if level > 1:
        return None
    if isinstance(value, int):
        return next((small for rule, small in RULES if re.search(rule, name) and value > small), None)
    if isinstance(value, list | tuple) and value and all(type(entry) is int for entry in value):
        if re.search(r"depths?$|layers$", name):
            return [1] * len(value)
        if name.endswith("heads") and min(value) > 1:
            return [max(1, entry // min(value)) for entry in value]
        if re.search(r"(sizes|dims|channels|widths?)$", name) and min(value) >= 32:
            return [entry // 4 for entry in value]
    return None


def model_of(kind, name, level):
    """A model of the class of that name, in eval mode, its weights moved by noise."""
    import transformers

    config = configuration(kind, level)
    cls = getattr(transformers, name)
    config = _meant(config, cls)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in cls(config).parameters()) if level > 1 else 0
    if size > MOST_PARAMETERS:
        raise NotBuilt(f"{size / 1e6:.0f} million parameters at its smallest")
    torch.manual_seed(0)
    model = cls(_meant(configuration(kind, level), cls)).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def _meant(config, cls):
    """The part of a configuration that a class takes."""
    parts = [config, *(getattr(config, name, None) for name in getattr(type(config), "sub_configs", {}))]
    return next((part for part in parts if cls.config_class and isinstance(part, cls.config_class)), config)


def inputs_of(model, names, batch, length, seed):
    """Random inputs of these names."""
    made = torch.Generator().manual_seed(seed)
    return {name.partition(",")[0]: _input(model.config, name, batch, length, made) for name in names}


def _find(config, name, otherwise):
    found = getattr(config, name, None)
    if found is not None:
        return found
    for part in getattr(type(config), "sub_configs", {}):
        if getattr(config, part, None) is not None:
            found = _find(getattr(config, part), name, None)
            if found is not None:
                return found
    return otherwise


def _input(config, name, batch, length, made):
    if name in ("input_ids", "decoder_input_ids"):
        return torch.randint(3, 50, (batch, length if name == "input_ids" else max(2, length - 2)), generator=made)
    if name == "attention_mask":
        return torch.ones(batch, length, dtype=torch.long)
    if name == "bbox":
        corner = torch.randint(0, 10, (batch, length, 2), generator=made)
        return torch.cat([corner, corner + 5], -1)
    if name.endswith("grid_thw"):
        return torch.tensor([[1, 4, 4]]).repeat(batch, 1)
    if name == "input_features_mask":
        return torch.ones(batch, 8 * (length + 1), dtype=torch.long)
    if name == "merge_sizes":
        return torch.ones(batch, dtype=torch.long)
    if name.endswith(", patches"):
        side, frames = _find(config, "patch_size", 14), _find(config, "temporal_patch_size", 1)
        channels = _find(config, "in_channels", None) or _find(config, "num_channels", 3)
        return torch.randn(batch * 16, channels * frames * side**2, generator=made)
    if name.startswith("pixel_values"):
        side = _find(config, "image_size", 64)
        sides = tuple(side) if isinstance(side, list | tuple) else (side, side)
        channels = _find(config, "num_channels", None) or _find(config, "in_channels", None) or 3
        frames = [_find(config, "num_frames", 2)] if name.endswith(("videos", "frames")) else []
        return torch.randn(batch, *frames, channels, *sides, generator=made)
    if name.startswith("input_features"):
        bins = next((found for key in _BINS if (found := _find(config, key, None))), 80)
        places = _find(config, "max_source_positions", None)
        drawn = torch.randn(batch, bins, 2 * places if places and "," not in name else 8 * (length + 1), generator=made)
        return drawn.mT if "," in name else drawn
    if name == "input_values":
        bins = _find(config, "num_mel_bins", None)
        if bins and _find(config, "max_length", None):
            return torch.randn(batch, _find(config, "max_length", 64), bins, generator=made)
        return torch.randn(batch, 2000 + 160 * length, generator=made)
    if name == "past_values":
        series = _find(config, "num_input_channels", None)
        size = _find(config, "context_length", 32)
        return torch.randn(batch, size, *([series] if series else []), generator=made)
    raise KeyError(name)


_BINS = ("num_mel_bins", "feature_size", "feature_projection_input_dim", "input_feat_per_channel", "input_dim")
_OTHER = {"input_features": "input_features, time first", "pixel_values": "pixel_values, frames"}
_KNOWN = ["input_ids", "bbox", "pixel_values", "pixel_values_videos", "input_features", "input_values", "past_values"]


def _choices(model):
    names = inspect.signature(model.forward).parameters
    known = [name for name in _KNOWN if name in names]
    rest = ["decoder_input_ids"] if "decoder_input_ids" in names else []
    main = [model.main_input_name] if model.main_input_name in known else []
    text = [name for name in known if name in ("input_ids", "bbox")]
    grids = [name for name in ("grid_thw", "image_grid_thw") if name in names]
    images = [f"{name}, patches" for name in ("pixel_values", "hidden_states") if name in names][:1]
    sizes = [name for name in ("merge_sizes",) if name in names]
    seen = [[*images, *grids[:1], *sizes]] if grids and not text else []
    tries = [*seen, known, text, main, ["input_ids"] if text else [], *([name] for name in known)]
    tries = [[*names, *more] for names in tries if names for more in ([rest, []] if rest else [[]])]
    tries += [[_OTHER.get(name, name) for name in names] for names in tries]
    return [list(names) for names in dict.fromkeys(map(tuple, tries))]


def build(kind, runs):
    """A tiny model of a type, the names of inputs that it runs on, and its class: the first that has one.

    Args:
        kind: the model type.
        runs: called with a model and inputs; raises where they do not go together.

    Raises:
        NotBuilt: none does; with what the first try said.
    """
    reasons = []
    for name in classes(kind)[:4]:
        for level in range(len(LEVELS)):
            try:
                model = model_of(kind, name, level)
            except Exception as error:
                reasons.append(f"{name}: {line(error)}")
                continue
            for names in _choices(model):
                start = time.process_time()
                try:
                    runs(model, inputs_of(model, names, 2, 7, 0))
                except Exception as error:
                    reasons.append(f"{name}({', '.join(names)}): {line(error)}")
                else:
                    if time.process_time() - start < MOST_SECONDS:
                        return model, names, type(model).__name__
                    reasons.append(f"{name}: one forward takes more than {MOST_SECONDS} s")
                    break
    raise NotBuilt(next(iter(reasons), "no model class of its own"))


TRANSFORMERS = Source(
    "transformers",
    types,
    build,
    inputs_of,
    (2, 7),
    ((3, 11, "batch and length"), (3, 7, "batch"), (2, 7, "values")),
)

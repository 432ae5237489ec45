"""Small configurations of the types of transformers.

A configuration is made small by the names of its numbers, sub-configurations too; lists with an entry for each layer
are cut with the layers. Where that gives no model that runs, less is made small, and less again: see `LEVELS`.
"""

import re

from transformers import AutoConfig

TINY = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "blank_token_id": 3,
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
    "context_size": 16,
    "v_head_dim": 12,
    "max_source_positions": 32,
    "max_target_positions": 64,
    "attention_window": 16,
    "mamba_d_ssm": 64,
    "max_text_length": 8,
    "mm_tokens_per_image": 4,
    "latent_query_num": 4,
    "mlp_only_layers": [],
}
"""What a number of a configuration becomes, by its name."""

RULES = [
    (r"(num|n)_.*layers?$|_layers$|depth$", 2),
    (r"^image_embedding_size$", 4),
    (r"^num_pos_feats$", 16),
    (r"upsample_groups$", 32),
    (r"vocab", 60),
    (r"(intermediate|ffn|mlp|feedforward)_?(size|dim)", 48),
    (r"head_dim$", 8),
    (r"heads?$", 4),
    (r"(hidden|embed\w*|projection|proj|model)_(size|dim)|_dim$|channels$|_hidden_size$", 32),
    (r"^image_size$", 64),
    (r"^window_size$", 2),
    (r"^num_queries$", 10),
]
"""The same by what a name looks like, for numbers larger than these."""

PLACES = ("image_token_id", "image_token_index", "video_token_index")
"""Tokens that stand for what is no text, to be told where a configuration has none."""

_SMALL_NET = {"width_coefficient": 0.125, "depth_coefficient": 0.1, "hidden_dim": 160}
_EACH_LAYER = {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
OF_TYPE = {
    "align": {"vision_config": _SMALL_NET, "projection_dim": 16},
    "autoformer": {"prediction_length": 4, "num_time_features": 1},
    "bamba": {"attn_layer_indices": [1]},
    "cohere_compass": {"text_config": {"rope_parameters": _EACH_LAYER}},
    "cohere_compass_text": {"rope_parameters": _EACH_LAYER},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", "sparse"]}},
    "efficientnet": _SMALL_NET,
    "eomt": {"num_blocks": 1},
    "eomt_dinov3": {"num_blocks": 1},
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True, "multi_query": False},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "informer": {"prediction_length": 4, "num_time_features": 1},
    "jamba": {"use_mamba_kernels": False},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "nemotron_h_omni": {"vision_config": {"video_temporal_patch_size": 2}},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "sam3_tracker": {"vision_config": {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "time_series_transformer": {"prediction_length": 4, "num_time_features": 1},
    "tvp": {"max_img_size": 64, "visual_prompt_size": 8, "num_frames": 2},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}
"""What a type needs of its own."""

LEVELS = ("names and looks", "a key each head", "names", "wider", "in proportion", "depth and vocabulary")
"""What is made small, from much to little."""

HEADS, WIDTHS = 4, 8
"""What numbers of heads, and widths of heads, are divided by where all is made small in proportion."""


def configuration(kind, level):
    """The configuration of a type, made small as far as `LEVELS[level]` says."""
    full = AutoConfig.for_model(kind)
    options = _options(full, LEVELS[level], _tokens(full))
    if level < len(LEVELS) - 1:
        _update(options, OF_TYPE.get(kind, {}))
    while True:
        try:
            return type(full)(**options)
        except TypeError as error:
            odd = [name for name in options if repr(name) in str(error)]
            if not odd:
                raise
            for name in odd:
                del options[name]


def parts_of(config):
    """The sub-configurations of a configuration, by their names."""
    parts = {name: getattr(config, name, None) for name in getattr(type(config), "sub_configs", {})}
    return {name: part for name, part in parts.items() if hasattr(part, "to_dict")}


def _update(options, more):
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(options.get(name), dict):
            _update(options[name], value)
        else:
            options[name] = value


def _tokens(config):
    """The ids of special tokens (of an image, an audio), by name: below the small vocabulary, above random text."""
    names = {name for name in _names(config) if re.search(r"_token_(id|index)$", name) and name not in TINY}
    return {name: 40 + place for place, name in enumerate(sorted(names))}


def _names(config):
    yield from getattr(config, "attribute_map", {})
    yield from config.to_dict()
    for part in parts_of(config).values():
        yield from _names(part)


def _options(config, level, tokens):
    fields, alias = config.to_dict(), getattr(config, "attribute_map", {})
    kept = _kept_layers(config, fields)
    made = {}
    for name in {*fields, *alias}:
        value = fields.get(name)
        if isinstance(value, bool | dict):
            continue
        if name in tokens and name not in alias and (name in PLACES if value is None else value >= 40):
            made[name] = tokens[name]
        elif kept and isinstance(value, list | tuple) and len(value) == len(kept[0]) and not _is_computed(config, name):
            made[name] = [value[place] for place in kept[1]]
        elif not isinstance(fields.get(alias.get(name)), list | tuple):
            small = _smaller(name, value, level)
            if small is not None:
                made[name] = small
    for name in {*made} & {"num_hidden_layers", "n_layer", "num_layers", "n_layers"} if kept else ():
        made[name] = len(kept[1])
    if "qk_rope_head_dim" in made and "head_dim" in made:
        made["head_dim"] = made["qk_rope_head_dim"]
    _shrink_sections(made, fields)
    _cut_outputs(made, fields)
    for name, part in parts_of(config).items():
        if part.model_type in ("timm_backbone", "timm_wrapper") and name == "backbone_config":
            made[name] = _residual_net(part)
        else:
            own = {"model_type": part.model_type} if part.model_type else {}
            made[name] = own | _told(part) | _options(part, level, tokens)
    if isinstance(fields.get("depths"), list | tuple):
        made = {name: value for name, value in made.items() if not name.endswith("layers")}
    return made


def _told(part):
    """What the whole configuration has told its part, beside the defaults of its class."""
    try:
        usual = type(part)().to_dict()
    except Exception:
        return {}
    told = {name: value for name, value in part.to_dict().items() if name in usual and usual[name] != value}
    return {name: value for name, value in told.items() if not isinstance(value, dict)}


def _kept_layers(config, fields):
    """All layers, and those to keep: the first of each kind, two at least; None where no list tells their kinds."""
    for name in ("layer_types", "layers_block_type", "block_types", "mlp_layer_types"):
        kinds = fields.get(name)
        if isinstance(kinds, list) and len(kinds) > 1 and not _is_computed(config, name):
            first = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
            more = [place for place in range(len(kinds)) if place not in first]
            return range(len(kinds)), sorted(first + more[: max(0, 2 - len(first))])
    return None


def _is_computed(config, name):
    return isinstance(getattr(type(config), name, None), property)


def _shrink_sections(made, fields):
    """Sections of rotary embeddings, half a head together; some classes have them and their configurations do not."""
    for name in ("rope_parameters", "rope_scaling"):
        table = fields.get(name)
        if isinstance(table, dict) and {"mrope_section", "rope_theta"} & {*table} and "hidden_size" in fields:
            heads = made.get("num_attention_heads", fields.get("num_attention_heads") or 1)
            size = (
                made.get("head_dim")
                or fields.get("head_dim")
                or made.get("hidden_size", fields["hidden_size"]) // heads
            )
            size = int(size * (table.get("partial_rotary_factor") or 1))
            old = table.get("mrope_section", (2, 1, 1))
            rest = [max(1, section * size // (2 * sum(old))) for section in old[1:]]
            made[name] = table | {"mrope_section": [size // 2 - sum(rest), *rest]}


def _cut_outputs(made, fields):
    """A backbone that gives the states of several layers keeps as many layers, and gives those of all."""
    outputs = fields.get("out_features")
    if outputs and "num_hidden_layers" in made:
        made["num_hidden_layers"] = layers = max(made["num_hidden_layers"], len(outputs))
        made["out_indices"] = list(range(layers - len(outputs) + 1, layers + 1))
        made["out_features"] = [f"stage{place}" for place in made["out_indices"]]


def _residual_net(part):
    """A small backbone of transformers in the place of one of timm."""
    places = getattr(part, "out_indices", None) or [4]
    chosen = {"out_indices": [place if place < 0 else min(place, 4) for place in places]}
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    return {"model_type": "resnet", **sizes, **chosen}


def _smaller(name, value, level):
    if level == "a key each head" and "key_value" in name and isinstance(value, int):
        return 4
    if level == "depth and vocabulary" and not re.search(r"layers?$|vocab|token_id", name):
        return None
    if level == "in proportion" and not re.search(r"layers?$|vocab|token_id|experts|_positions|position_emb", name):
        return _in_proportion(name, value)
    if level == "wider" and re.search(r"hidden_size$|d_model|n_embd|embed_dim", name):
        return 128 if isinstance(value, int) and value > 128 else None
    if name in TINY and not (isinstance(value, list | tuple) and isinstance(TINY[name], int)):
        return TINY[name]
    if level not in LEVELS[:2]:
        return None
    if isinstance(value, int):
        return next((small for rule, small in RULES if re.search(rule, name) and value > small), None)
    if isinstance(value, list | tuple) and value and all(type(entry) is int for entry in value):
        if re.search(r"depths?$|^layers$|num_\w*layers$|num_blocks$", name):
            return [1] * len(value)
        if name.endswith("heads") and min(value) > 1:
            return [max(1, entry // min(value)) for entry in value]
        if name == "embed_dim_per_stage":
            return [32 * entry // value[0] for entry in value]
        if len({*value}) == 1 and re.search(r"channels$", name) and value[0] > 32:
            return [32] * len(value)
        if re.search(r"(sizes|dims|channels|widths?)$", name) and max(value) >= 32:
            return [entry // 4 if entry >= 16 else entry for entry in value]
    return None


def _in_proportion(name, value):
    """Heads and their widths divided by constants, all other widths by the product of the two."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values or not all(type(entry) is int for entry in values):
        return None
    if re.search(r"heads?$", name):
        by, least = HEADS, 1
    elif re.search(r"head_dim$|d_kv$|rotary_dim$|head_size$", name):
        by, least = WIDTHS, 1
    elif re.search(r"(size|dim|dims|sizes|channels|width|widths|inner|d_ff|d_model|n_embd|d_ssm)$|lora_rank$", name):
        by, least = HEADS * WIDTHS, 64
    else:
        return None
    if re.search(r"image_size|patch|kernel|window|chunk|vocab|state|batch|tile|conv", name):
        return None
    small = [entry // by if entry >= least and entry % by == 0 else entry for entry in values]
    return small if isinstance(value, list | tuple) else small[0]

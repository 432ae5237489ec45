"""Random inputs of models of transformers, by the names of what their forward takes.

What has to agree with a model is asked of it: how many places an image takes in a text by `get_image_features`, how
long a patch is by the layer that embeds it.
"""

import inspect
import math

import torch
from small import parts_of

KNOWN = (
    "input_ids",
    "bbox",
    "pixel_values",
    "pixel_values_videos",
    "flattened_patches",
    "input_features",
    "input_values",
    "past_values",
    "states",
)
"""What a forward may be given, beside what goes with it."""

GRIDS = ("grid_thw", "image_grid_thw", "image_grid_hw")
OTHER = {
    "input_features": "input_features, time first",
    "pixel_values": "pixel_values, frames",
    "input_values": "input_values, channels",
}
"""Another form of the same input, marked behind a comma."""

WITH = {
    "pixel_values": ("image_sizes", "pixel_attention_mask", "spatial_shapes", "merge_sizes", "image_position_ids"),
    "input_features": ("input_features_mask", "feature_attention_mask"),
    "states": ("actions", "returns_to_go", "timesteps"),
    "past_values": ("future_values", "future_time_features"),
    "query_embeds": ("encoder_hidden_states",),
    "input_ids": (
        "image_embeds_position_mask",
        "visual_feats",
        "visual_pos",
        "mm_token_type_ids",
        "moe_mm_token_type_ids",
        "entity_ids",
        "xpath_tags_seq",
        "xpath_subs_seq",
    ),
}
"""What goes with an input where the forward takes it, though it need not be given."""

_BINS = (
    "num_mel_bins",
    "feature_size",
    "feature_projection_input_dim",
    "input_feat_per_channel",
    "input_dim",
    "n_mels",
)


def choices(cls):
    """Lists of names of inputs to try on models of a class."""
    signature = dict(list(inspect.signature(cls.forward).parameters.items())[1:])
    known = [name for name in KNOWN if name in signature]
    rest = ["decoder_input_ids"] if "decoder_input_ids" in signature else []
    main = [cls.main_input_name] if getattr(cls, "main_input_name", None) in known else []
    text = [name for name in known if name in ("input_ids", "bbox")]
    images = [name for name in known if name not in ("pixel_values_videos",)]
    patched = [name for name in ("pixel_values", "hidden_states") if name in signature][:1]
    seen = [[f"{name}, patches", grid] for name in patched for grid in GRIDS if grid in signature][:1]
    seen += [
        [f"{name}, patches as images", *grids]
        for name, *grids in [(one.partition(",")[0], *more) for one, *more in seen]
    ]
    seen += [[f"{name}, patches of each"] for name in patched if "spatial_shapes" in signature]
    tries = [more for names in seen for more in ([*text, *names], names)]
    tries += [images, known, text, main, ["input_ids"] if text else [], *([name] for name in known)]
    tries = [[*names, *more] for names in tries if names for more in ([rest, []] if rest else [[]])]
    tries += [[OTHER.get(name, name) for name in names] for names in tries]
    tries += [[OTHER[name] if name == one else name for name in names] for one in OTHER for names in (images, known)]
    tries = [[*names, *_required(signature, names)] for names in tries] or [_required(signature, [])]
    tries = [more for names in tries for more in (_accompanied(signature, names), names)]
    return [list(names) for names in dict.fromkeys(map(tuple, tries)) if names]


def kinds_in(names):
    """How many kinds of things are given: a text, an image, a sound."""
    return len({name.removesuffix("_videos") for name in _given(names)} & {*KNOWN, "hidden_states"})


def _required(signature, names):
    given, kinds = _given(names), (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    needed = [name for name, parameter in signature.items() if parameter.default is parameter.empty]
    return [name for name in needed if name not in given and signature[name].kind not in kinds]


def _accompanied(signature, names):
    more = [other for name in _given(names) for other in WITH.get(name, ()) if other in signature]
    return [*names, *(name for name in more if name not in _given(names))]


def _given(names):
    return [name.partition(",")[0] for name in names]


def inputs_of(model, names, batch, length, seed):
    """Random inputs of these names.

    Raises:
        KeyError: a name that nothing is known of.
    """
    made, given = torch.Generator().manual_seed(seed), {}
    last = [name for name in names if name in ("input_ids", *WITH["input_ids"])]
    for name in [*(name for name in names if name not in last), *last]:
        given[name.partition(",")[0]] = _input(model, name, (batch, length), made, given)
    return {name: given[name] for name in _given(names)}


def find(config, name, otherwise=None):
    """What a configuration, or one of its parts, calls so."""
    found = getattr(config, name, None)
    for part in parts_of(config).values() if found is None else ():
        found = find(part, name)
        if found is not None:
            break
    return otherwise if found is None else found


def _input(model, name, shape, made, given):
    maker = _MAKERS.get(name.partition(",")[0])
    if maker is None:
        raise KeyError(name)
    return maker(model, name, shape, made, given)


def _text(model, name, shape, made, given):
    """Random tokens; the places of images, videos and sounds among them after the first."""
    batch, length = shape
    books = find(model.config, "num_codebooks") if "Musicgen" in type(model).__name__ else None
    if books:
        batch *= books
    drawn = torch.randint(4, 40, (batch, length), generator=made)
    parts = [drawn[:, :1], *_places(model, given, batch), drawn[:, 1:]] if given else [drawn]
    return torch.cat(parts, 1)


def _places(model, given, batch):
    for kind in ("image", "video", "audio"):
        token = find(model.config, f"{kind}_token_id", find(model.config, f"{kind}_token_index"))
        ask = getattr(model, f"get_{kind}_features", None) or getattr(model.base_model, f"get_{kind}_features", None)
        if not isinstance(token, int) or ask is None:
            continue
        taken = inspect.signature(ask).parameters
        known = {name: value for name, value in given.items() if name in taken}
        if not any(value.is_floating_point() for value in known.values()):
            continue
        with torch.no_grad():
            count = _tokens_in(ask(**known))
        around = [
            find(model.config, f"{word}_{edge}_token_id") for edge in ("start", "end") for word in (kind, "vision")
        ]
        first, last = around[0] or around[1], around[2] or around[3]
        row = [*([first] if first else []), *[token] * (count // batch), *([last] if last else [])]
        yield torch.tensor(row).repeat(batch, 1)


def _tokens_in(found):
    found = getattr(found, "pooler_output", None) if hasattr(found, "keys") else found
    if isinstance(found, list | tuple):
        return sum(map(_tokens_in, found))
    return found.numel() // found.shape[-1]


def _kinds_of_tokens(model, name, shape, made, given):
    kinds = torch.zeros_like(given["input_ids"])
    for number, kind in enumerate(("image", "video", "audio"), start=1):
        token = find(model.config, f"{kind}_token_id", find(model.config, f"{kind}_token_index"))
        kinds[given["input_ids"] == token] = number if isinstance(token, int) else 0
    return kinds


def _places_of_image(model, name, shape, made, given):
    places = torch.arange(given["input_ids"].shape[1])
    return ((places > 0) & (places <= find(model.config, "latent_query_num", 4))).repeat(shape[0], 1)


def _decoder_text(model, name, shape, made, given):
    return torch.randint(4, 40, (shape[0], max(2, shape[1] - 2)), generator=made)


def _boxes(model, name, shape, made, given):
    corner = torch.randint(0, 10, (*shape, 2), generator=made)
    return torch.cat([corner, corner + 5], -1)


def _grid(model, name, shape, made, given):
    return torch.tensor([[4, 4] if name.endswith("_hw") else [1, 4, 4]]).repeat(shape[0], 1)


def _patches(model, name, shape, made):
    """As many patches as `_grid` says, as long as the layer that embeds them wants them."""
    weights = [getattr(module, "weight", None) for path, module in model.named_modules() if "patch" in path]
    sizes = [weight[0].shape for weight in weights if isinstance(weight, torch.Tensor) and weight.dim() >= 2]
    side, frames = find(model.config, "patch_size", 14), find(model.config, "temporal_patch_size", 1)
    size = next(iter(sizes), None) or ((find(model.config, "in_channels") or 3) * frames, side, side)
    size = size if name.endswith("images") else (math.prod(size),)
    return torch.randn(*((shape[0], 16) if name.endswith("each") else (shape[0] * 16,)), *size, generator=made)


def _hidden_states(model, name, shape, made, given):
    if ", patches" in name:
        return _patches(model, name, shape, made)
    return torch.randn(*shape, find(model.config, "hidden_size", 32), generator=made)


def _queries(model, name, shape, made, given):
    return torch.randn(shape[0], 4, find(model.config, "hidden_size", 32), generator=made)


def _states_of_encoder(model, name, shape, made, given):
    return torch.randn(*shape, find(model.config, "encoder_hidden_size", 32), generator=made)


def _latents(model, name, shape, made, given):
    return torch.randn(shape[0], find(model.config, "hidden_size", 32), shape[1], generator=made)


def _mel(model, name, shape, made, given):
    return torch.randn(shape[0], 8 * (shape[1] + 1), find(model.config, "input_feat_size", 80), generator=made)


def _sides(config):
    side = find(config, "image_size", 64)
    if isinstance(side, dict):
        side = list(side.values())[:2]
    return tuple(side) if isinstance(side, list | tuple) else (side, side)


def _pixels(model, name, shape, made, given):
    if ", patches" in name:
        return _patches(model, name, shape, made)
    config = model.config
    channels = find(config, "num_channels") or find(config, "in_channels") or 3
    frames = [find(config, "num_frames", 2)] if name.endswith(("videos", "frames")) else []
    return torch.randn(shape[0], *frames, channels, *_sides(config), generator=made)


def _features(model, name, shape, made, given):
    bins = next((found for key in _BINS if (found := find(model.config, key))), 80)
    places = find(model.config, "max_source_positions")
    steps = 2 * places if places and "," not in name else 8 * (shape[1] + 1)
    drawn = torch.randn(shape[0], bins, steps, generator=made)
    return drawn.mT if "," in name else drawn


def _mask_of_features(model, name, shape, made, given):
    held = given["input_features"]
    bins = next((found for key in _BINS if (found := find(model.config, key))), 80)
    return torch.ones(shape[0], held.shape[1] if held.shape[2] == bins else held.shape[2], dtype=torch.long)


def _flattened(model, name, shape, made, given):
    """Patches behind their row and column, from 1."""
    places = torch.cartesian_prod(torch.arange(1.0, 5), torch.arange(1.0, 5)).expand(shape[0], -1, -1)
    return torch.cat([places, _patches(model, f"{name}, of each", shape, made)], -1)


def _regions(model, name, shape, made, given):
    """Five regions of an image: what is seen there, and where."""
    size = find(model.config, "visual_feat_dim" if name == "visual_feats" else "visual_pos_dim", 4)
    return torch.rand(shape[0], 5, size, generator=made)


def _states(model, name, shape, made, given):
    sizes = {"states": find(model.config, "state_dim", 17), "actions": find(model.config, "act_dim", 4)}
    if name == "timesteps":
        return torch.arange(shape[1]).repeat(shape[0], 1)
    return torch.randn(*shape, sizes.get(name, 1), generator=made)


def _sound(model, name, shape, made, given):
    bins = find(model.config, "num_mel_bins")
    if bins and find(model.config, "max_length"):
        return torch.randn(shape[0], find(model.config, "max_length", 64), bins, generator=made)
    channels = [find(model.config, "audio_channels") or find(model.config, "channels") or 1] if "," in name else []
    return torch.randn(shape[0], *channels, 2000 + 160 * shape[1], generator=made)


def _series(model, name, shape, made, given):
    series = find(model.config, "num_input_channels")
    size = find(model.config, "context_length", 32) + max(find(model.config, "lags_sequence") or [0])
    return torch.randn(shape[0], size, *([series] if series else []), generator=made)


def _time_features(model, name, shape, made, given):
    values = given["past_values" if name.startswith("past") else "future_values"]
    return torch.randn(*values.shape[:2], find(model.config, "num_time_features", 0), generator=made)


def _future(model, name, shape, made, given):
    return torch.randn(
        shape[0], find(model.config, "prediction_length", 4), *given["past_values"].shape[2:], generator=made
    )


def _image_sizes(model, name, shape, made, given):
    return torch.tensor([_sides(model.config)]).repeat(shape[0], 1)


def _mask_of_pixels(model, name, shape, made, given):
    values = given["pixel_values"]
    size = values.shape[:2] if values.dim() == 3 else (*values.shape[:-3], *values.shape[-2:])
    return torch.ones(size, dtype=torch.long)


def _ones(model, name, shape, made, given):
    return torch.ones(shape[0], dtype=torch.long)


def _pixel_places(model, name, shape, made, given):
    return torch.cartesian_prod(torch.arange(4), torch.arange(4)).repeat(shape[0], 1, 1)


_MAKERS = {
    "input_ids": _text,
    **dict.fromkeys(("decoder_input_ids", "qformer_input_ids", "entity_ids", "classes_input_ids"), _decoder_text),
    **dict.fromkeys(("tasks_input_ids", "task_inputs"), _decoder_text),
    "bbox": _boxes,
    **dict.fromkeys(GRIDS, _grid),
    **dict.fromkeys(("pixel_values", "pixel_values_videos"), _pixels),
    "hidden_states": _hidden_states,
    **dict.fromkeys(("mm_token_type_ids", "moe_mm_token_type_ids"), _kinds_of_tokens),
    "input_features": _features,
    **dict.fromkeys(("input_features_mask", "feature_attention_mask"), _mask_of_features),
    "input_values": _sound,
    "flattened_patches": _flattened,
    **dict.fromkeys(("visual_feats", "visual_pos"), _regions),
    **dict.fromkeys(("states", "actions", "returns_to_go", "timesteps"), _states),
    "query_embeds": _queries,
    "latents": _latents,
    "encoder_hidden_states": _states_of_encoder,
    "image_embeds_position_mask": _places_of_image,
    "audio_mel": _mel,
    "audio_mel_mask": lambda model, name, shape, made, given: torch.zeros(
        given["audio_mel"].shape[:2], dtype=torch.bool
    ),
    "past_values": _series,
    "future_values": _future,
    **dict.fromkeys(("past_time_features", "future_time_features"), _time_features),
    "past_observed_mask": lambda model, name, shape, made, given: torch.ones_like(given["past_values"]),
    "image_sizes": _image_sizes,
    "pixel_attention_mask": _mask_of_pixels,
    "spatial_shapes": lambda model, name, shape, made, given: torch.tensor([[4, 4]]).repeat(shape[0], 1),
    "merge_sizes": _ones,
    **dict.fromkeys(("image_position_ids", "pixel_position_ids"), _pixel_places),
}

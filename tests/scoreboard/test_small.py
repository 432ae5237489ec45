"""Small configurations: parts, lists of layers and ids of tokens stay in step with what is made small."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")
import small
from transformers import AutoConfig


def test_sizes_and_lists_of_layers_are_cut_together() -> None:
    config = small.configuration("zamba2", 0)
    assert config.num_hidden_layers == len(config.layer_types) <= 4
    assert {*config.layer_types} == {*AutoConfig.for_model("zamba2").layer_types}
    assert config.hidden_size == 32


def test_tokens_of_images_are_in_the_small_vocabulary_and_apart() -> None:
    config = small.configuration("qwen2_vl", 0)
    ids = [config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id]
    assert len({*ids}) == 4
    assert all(40 <= number < config.text_config.vocab_size for number in ids)


def test_sections_of_a_rotary_embedding_are_half_a_head() -> None:
    text = small.configuration("qwen2_vl", 0).text_config
    assert 2 * sum(text.rope_parameters["mrope_section"]) == text.hidden_size // text.num_attention_heads


def test_a_part_keeps_what_the_whole_has_told_it() -> None:
    whole = AutoConfig.for_model("mask2former")
    config = small.configuration("mask2former", 0)
    assert config.backbone_config.out_features == whole.backbone_config.out_features


def test_a_backbone_of_timm_is_one_of_transformers() -> None:
    assert small.configuration("dab-detr", 0).backbone_config.model_type == "resnet"


def test_in_proportion_products_of_heads_stay_what_they_were() -> None:
    full = AutoConfig.for_model("llama")
    config = small.configuration("llama", small.LEVELS.index("in proportion"))
    assert config.hidden_size // config.num_attention_heads == full.hidden_size // full.num_attention_heads // 8
    assert config.num_attention_heads == full.num_attention_heads // small.HEADS
    assert config.hidden_size == full.hidden_size // (small.HEADS * small.WIDTHS)

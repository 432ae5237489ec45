"""Inputs that agree with a model: places for images in a text, grids, masks; the fullest are tried first."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")
import given
import row
import tiny
import transformers


def test_a_text_has_a_place_for_every_feature_of_an_image() -> None:
    model, names, _ = tiny.build("llava", row._runs)
    assert {"input_ids", "pixel_values"} <= {*names}
    inputs = tiny.inputs_of(model, names, 3, 9, 1)
    found = model.get_image_features(inputs["pixel_values"]).pooler_output
    features = sum(part.numel() // part.shape[-1] for part in found)
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == features > 0
    assert len(inputs["input_ids"]) == 3


def test_patches_come_with_their_grid_and_kinds_of_tokens() -> None:
    names = given.choices(transformers.Qwen2VLForConditionalGeneration)[0]
    assert names == ["input_ids", "pixel_values, patches", "image_grid_thw", "mm_token_type_ids"]
    model, built, _ = tiny.build("qwen2_vl", row._runs)
    assert built == names
    inputs = tiny.inputs_of(model, names, 2, 7, 0)
    assert inputs["pixel_values"].shape[0] == int(inputs["image_grid_thw"].prod(-1).sum())
    assert torch.equal(inputs["mm_token_type_ids"] == 1, inputs["input_ids"] == model.config.image_token_id)


def test_what_a_forward_must_be_given_is_given() -> None:
    for names in given.choices(transformers.Siglip2VisionModel):
        assert {"pixel_attention_mask", "spatial_shapes"} <= {name.partition(",")[0] for name in names}


def test_more_kinds_of_things_come_first() -> None:
    assert given.kinds_in(["input_ids", "pixel_values, frames"]) == 2
    assert given.kinds_in(["input_ids", "attention_mask"]) == 1


def test_a_name_that_nothing_is_known_of_is_said() -> None:
    with pytest.raises(KeyError, match="odd_thing"):
        given.inputs_of(None, ["odd_thing"], 2, 7, 0)


def test_a_class_with_a_head_comes_before_its_stem() -> None:
    found = tiny.classes("vit")
    assert found.index("ViTForImageClassification") < found.index("ViTModel")
    assert tiny.classes("whisper")[0] == "WhisperForConditionalGeneration"

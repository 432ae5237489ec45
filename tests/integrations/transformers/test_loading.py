"""Purged models come back from their folders to the bit."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

from integrations.transformers.tiny import MODELS, build, close, gated, half, halved, inputs, purged, ragged, same  # noqa: E402

import lzero  # noqa: E402
from lzero.errors import StructureError  # noqa: E402
from lzero.integrations.transformers import from_pretrained  # noqa: E402


@pytest.mark.parametrize("name", MODELS)
def test_a_purged_model_comes_back_to_the_bit(name, tmp_path):
    small, _ = purged(name)
    small.save_pretrained(tmp_path)
    before = torch.random.get_rng_state()
    back = from_pretrained(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert type(back) is type(small) and same(back, small, name) and not back.training
    one, two = small.state_dict(), back.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert back.config.lzero == small.config.lzero


@pytest.mark.parametrize("name", ["GPT-2", "BERT"])
def test_a_narrower_stream_comes_back_with_the_eps_of_its_norms(name, tmp_path):
    model = build(name).eval()
    close(lzero.attach_gates(model, inputs(name), granularity="width"), ragged)
    small = lzero.purge(model, settle=False).model
    small.save_pretrained(tmp_path)
    back = from_pretrained(tmp_path)
    assert same(back, small, name) and "one number for all layers" in back.config.lzero["reason"]

    def shares(model):
        return {path: buffer.tolist() for path, buffer in model.named_buffers() if "purged_" in path and buffer.dim()}

    assert shares(back) == shares(small) and len(shares(back)) >= 3


@pytest.mark.parametrize("name", ["GPT-2", "T5"])
def test_tied_tensors_stay_tied_and_it_generates_as_before(name, tmp_path):
    small, _ = purged(name)
    small.generation_config.max_new_tokens = 4
    small.save_pretrained(tmp_path)
    back = from_pretrained(tmp_path)
    assert back.get_output_embeddings().weight is back.get_input_embeddings().weight
    words = inputs(name)["input_ids"]
    assert torch.equal(back.generate(words), small.generate(words))
    assert back.generation_config.max_new_tokens == 4


def test_shards_other_precision_and_a_second_time(tmp_path):
    small, _ = purged("Llama")
    half_precision = halved(from_pretrained_of(small, tmp_path / "a"))
    half_precision.save_pretrained(tmp_path / "b", max_shard_size="4KB")
    assert len(list((tmp_path / "b").glob("model-*.safetensors"))) > 1
    back = from_pretrained(tmp_path / "b")
    assert back.dtype == torch.bfloat16 and same(back, half_precision, "Llama")
    assert from_pretrained(tmp_path / "a", dtype=torch.float64).dtype == torch.float64


def from_pretrained_of(small, folder):
    small.save_pretrained(folder)
    return from_pretrained(folder)


def test_a_class_or_an_auto_class(tmp_path):
    small, _ = purged("Llama")
    small.save_pretrained(tmp_path)
    for kind in (transformers.AutoModelForCausalLM, transformers.LlamaForCausalLM):
        back, info = from_pretrained(tmp_path, kind, output_loading_info=True)
        assert type(back) is transformers.LlamaForCausalLM and same(back, small, "Llama") and not info["missing_keys"]


def test_the_base_model_of_one_with_a_head(tmp_path):
    small, _ = purged("ViT")
    small.save_pretrained(tmp_path)
    back = from_pretrained(tmp_path, transformers.AutoModel, add_pooling_layer=False)
    x = inputs("ViT", seed=5)
    assert torch.equal(back(**x).last_hidden_state, small.vit(**x).last_hidden_state)


def test_a_plain_model_is_left_to_stock_loading(tmp_path):
    small, _ = purged("Llama", half)
    small.save_pretrained(tmp_path)
    assert same(from_pretrained(tmp_path), small, "Llama")
    build("BERT").save_pretrained(tmp_path / "dense")
    assert same(from_pretrained(tmp_path / "dense"), build("BERT"), "BERT")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"format": 2}, "expected an entry of format 1, found 2"),
        ("purged", "expected an entry of format 1, found 'purged'"),
        ({"format": 1, "shapes": {"classifier.weight": [10, 0]}, "numbers": {}}, "expected shapes and numbers"),
        ({"format": 1, "shapes": {}, "numbers": {"a": 1.5}}, "expected shapes and numbers"),
        ({"format": 1, "shapes": {"classifier.weight": [99, 32]}, "numbers": {}}, "which no purge of"),
        ({"format": 1, "shapes": {"nowhere": [3]}, "numbers": {}}, "has an unknown nowhere"),
    ],
)
def test_a_damaged_entry_is_refused(entry, message, tmp_path):
    model = build("ViT")
    model.config.lzero = entry
    model.save_pretrained(tmp_path)
    with pytest.raises(StructureError, match=message):
        from_pretrained(tmp_path)


def test_files_that_lack_a_tensor_are_refused(tmp_path):
    small, _ = purged("ViT")
    state = {name: tensor for name, tensor in small.state_dict().items() if name != "classifier.weight"}
    small.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(StructureError, match=r"the files lack classifier\.weight"):
        from_pretrained(tmp_path)


def test_a_gated_model_comes_back_with_its_gates(tmp_path):
    model = gated("ViT")
    model.save_pretrained(tmp_path)
    back = from_pretrained(tmp_path, plan=lzero.gates_of(model).plan)
    assert same(back, model, "ViT") and lzero.gates_of(back) is not None


def test_sines_that_were_cut_are_in_the_files(tmp_path):
    """Files of a Marian model leave its table of positions out: it is made anew, from all features that there were."""
    sides = {f"{side}_{what}": n for side in ("encoder", "decoder")
             for what, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 8))}  # fmt: skip
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 2}
    torch.manual_seed(0)
    config = transformers.MarianConfig(vocab_size=20, d_model=16, max_position_embeddings=12, **sides, **tokens)
    model, words = transformers.MarianMTModel(config).eval(), torch.randint(3, 20, (2, 6))
    x = {"input_ids": words, "decoder_input_ids": words[:, :4]}
    gates = lzero.attach_gates(model, x, granularity="width")
    with torch.no_grad():
        next(gates[group.name] for group in gates.plan.groups if group.norms)[..., ::3] = -9.0
    small = lzero.purge(model, settle=False).model.eval()
    small.save_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path)(**x).logits, small(**x).logits)
    assert len(small.model.encoder.embed_positions.weight[0]) == 10
    assert "model.encoder.embed_positions.weight" in model._keys_to_ignore_on_save

"""Where every layer kept the same numbers the configuration says so, and a stock model is the purged one."""

import re

import pytest
import torch

transformers = pytest.importorskip("transformers")

from integrations.transformers.tiny import build, close, gated, half, inputs, purged, ragged, same  # noqa: E402

import lzero  # noqa: E402
from lzero.surgery.libraries.plain_config import plain_numbers  # noqa: E402

CHANGED = {
    "Llama": {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 24},
    "Llama, grouped queries": {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24},
    "ViT": {"num_attention_heads": 2, "intermediate_size": 24, "head_dim": 8},
    "T5": {"num_heads": 2, "d_ff": 24},
}


def hidden_units(number, size):
    """Every head and half of the other units."""
    return size if size <= 4 else size // 2


def differences(small, model):
    before, after = model.config.to_dict(), small.config.to_dict()
    left_out = ("architectures", "dtype")
    return {name: value for name, value in after.items() if before.get(name) != value and name not in left_out}


@pytest.mark.parametrize("name", CHANGED)
def test_stock_loading_gives_the_purged_model(name, tmp_path):
    small, model = purged(name, half)
    assert differences(small, model) == CHANGED[name]
    small.save_pretrained(tmp_path)
    stock, info = type(small).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert same(stock, small, name) and stock.num_parameters() == small.num_parameters()


@pytest.mark.parametrize(("name", "number"), [("BERT", {"intermediate_size": 24}), ("GPT-2", {"n_inner": 64})])
def test_hidden_units_alone_where_heads_follow_from_the_width(name, number, tmp_path):
    model = build(name).eval()
    kept_whole = [path for path, _ in model.named_modules() if path.endswith(("attention", "attn", "pooler"))]
    close(lzero.attach_gates(model, inputs(name), ignore=kept_whole), half)
    small = lzero.purge(model, settle=False).model
    assert differences(small, model) == number
    small.save_pretrained(tmp_path)
    assert same(type(small).from_pretrained(tmp_path), small, name)


ONE = "one number for all layers, of whose"


@pytest.mark.parametrize(
    ("name", "keep", "reason"),
    [
        ("BERT", hidden_units, rf"hidden_size: {ONE} 32 are left 16 \(bert.pooler.dense.weight\), 32 \(bert.emb"),
        ("BERT", half, rf"hidden_size: {ONE} 32 are left 16 \(bert.encoder.*query.weight\), 32 \(bert.emb"),
        ("GPT-2", half, rf"n_embd: {ONE} 32 are left 16 \(transformer.*c_attn.weight\), 32 \(transformer.wte.weight"),
        ("Llama", ragged, rf"num_attention_heads: {ONE} 4 are left 1 \(.*\), 2 \(.*\)"),
        ("Llama", lambda number, size: size - 1, "LlamaConfig with .*num_attention_heads.*not a multiple"),
    ],
)
def test_what_a_configuration_cannot_say_is_said_beside_it(name, keep, reason):
    small, model = purged(name, keep)
    assert set(differences(small, model)) == {"lzero"}
    assert re.search(reason, small.config.lzero["reason"])


def test_a_uniform_budget_is_a_plain_model(tmp_path):
    model = gated("ViT").eval()
    with pytest.warns(lzero.LzeroWarning, match="no step of a solver"):
        result = lzero.purge(model, constraints=[lzero.Constraint(0.6, uniform=True)])
    assert len(result.kept) == 4 and not hasattr(result.model.config, "lzero")
    result.model.save_pretrained(tmp_path)
    assert same(transformers.AutoModelForImageClassification.from_pretrained(tmp_path), result.model, "ViT")


def narrower(name, keep, **options):
    """The purged model of a kind whose streams are gated too, the share ``keep(group)`` of each open; and the gated."""
    model = build(name, **options).eval()
    gates = lzero.attach_gates(model, inputs(name), granularity="width")
    with torch.no_grad():
        for group in gates.plan.groups:
            gates[group.name].fill_(9.0)[..., : group.size - round(group.size * keep(group))] = -9.0
    return lzero.purge(model, settle=False).model, model


def stream(group):
    """Three quarters of the stream, all else."""
    return 0.75 if group.norms else 1.0


def three_quarters(group):
    """Three heads of four, and as much of all else: what divides by the number of heads is as before."""
    return 0.75


@pytest.mark.parametrize(
    ("name", "keep", "options", "numbers"),
    [
        ("Llama", stream, {}, {"hidden_size": 24, "rms_norm_eps": 1e-6 * 32 / 24}),
        ("ViT", stream, {}, {"hidden_size": 24, "layer_norm_eps": 1e-12 * 32 / 24, "head_dim": 8}),
        (
            "BERT",
            three_quarters,
            {},
            {"hidden_size": 24, "layer_norm_eps": 1e-12 * 32 / 24, "num_attention_heads": 3, "intermediate_size": 36},
        ),
        (
            "GPT-2",
            three_quarters,
            {},
            {"n_embd": 24, "layer_norm_epsilon": 1e-5 * 32 / 24, "n_head": 3},
        ),
        (
            "GPT-2",
            lambda group: 0.5 if group.name.endswith("mlp.c_fc") else 0.75,
            {},
            {"n_embd": 24, "layer_norm_epsilon": 1e-5 * 32 / 24, "n_head": 3, "n_inner": 64},
        ),
    ],
)
def test_a_narrower_stream_is_a_plain_model(name, keep, options, numbers, tmp_path):
    small, model = narrower(name, keep, **options)
    assert differences(small, model) == numbers
    small.save_pretrained(tmp_path)
    stock, info = type(small).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert same(stock, small, name)


class Scaled(transformers.LlamaForCausalLM):
    """Its embeddings are scaled by the width that the configuration has, as those of Gemma are."""

    def forward(self, input_ids, **options):
        words = self.model.embed_tokens(input_ids) * self.config.hidden_size**0.5
        return super().forward(inputs_embeds=words, **options)


def test_a_forward_that_computes_with_the_width_keeps_it():
    model = Scaled(build("Llama").config).eval()
    gates = lzero.attach_gates(model, inputs("Llama"), granularity="width")
    with torch.no_grad():
        next(gates[group.name] for group in gates.plan.groups if group.norms)[..., :8] = -9.0
    small = lzero.purge(model, settle=False).model
    assert small.config.hidden_size == 32 and small.model.norm.weight.shape == (24,)
    assert "computes with a size of its configuration" in small.config.lzero["reason"]


def test_state_dicts_of_a_plain_model_still_load_into_the_architecture():
    small, _ = purged("T5", half)
    assert same(lzero.load_purged(build("T5", seed=5), small.state_dict()), small, "T5")


def test_nothing_was_closed():
    small, model = purged("Llama", lambda number, size: size)
    assert not differences(small, model)


class OneALayer(transformers.BertConfig):
    """Raises where one number is asked for and every layer has its own, as configurations of Gemma 4 do."""

    def __getattribute__(self, name):
        if name in ("head_dim", "n_heads", "n_inner"):
            raise RuntimeError(f"{name!r} is a per-layer attribute")
        return super().__getattribute__(name)


def test_a_number_that_may_not_be_read_is_a_reason_at_most():
    small, _ = purged("BERT", half)
    marks = [name for name, _ in small.named_buffers() if "purged_" in name]
    assert f"hidden_size: {ONE}" in plain_numbers(small, marks)[1]
    small.config.__class__ = OneALayer
    numbers, reason = plain_numbers(small, marks)
    assert numbers is None
    assert "is a per-layer attribute" in reason

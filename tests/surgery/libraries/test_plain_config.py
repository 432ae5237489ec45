"""Where every layer kept the same numbers the configuration says so, and a stock model is the purged one."""

import re

import pytest

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


@pytest.mark.parametrize(
    ("name", "keep", "reason"),
    [
        ("BERT", hidden_units, r"bert.pooler.dense.weight: kept \[16, 32\], which no number of BertConfig says"),
        ("BERT", half, r"self.query.weight: kept \[16, 32\], which no number of BertConfig says"),
        ("GPT-2", half, r"attn.c_attn.weight: kept \[32, 48\], which no number of GPT2Config says"),
        ("Llama", ragged, "num_attention_heads: one number for all layers, which kept 1, 2 of 4"),
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
    assert "which no number of BertConfig says" in plain_numbers(small, marks)[1]
    small.config.__class__ = OneALayer
    numbers, reason = plain_numbers(small, marks)
    assert numbers is None
    assert "is a per-layer attribute" in reason

"""Which class a saved model has: its own, the one that is asked for, or what an Auto class makes of it."""

import pytest

transformers = pytest.importorskip("transformers")

from integrations.transformers.tiny import build  # noqa: E402

from lzero.errors import StructureError  # noqa: E402
from lzero.integrations.transformers.classes import class_of, saved_config  # noqa: E402


def config(**options):
    found = build("BERT").config
    for name, value in options.items():
        setattr(found, name, value)
    return found


def test_the_class_that_was_saved():
    assert class_of(config(architectures=["BertForMaskedLM"]), None) is transformers.BertForMaskedLM


def test_a_class_and_an_auto_class():
    assert class_of(config(), transformers.BertModel) is transformers.BertModel
    found = class_of(config(), transformers.AutoModelForTokenClassification)
    assert found is transformers.BertForTokenClassification


@pytest.mark.parametrize("names", [None, [], ["SomebodysModel"]])
def test_a_class_that_nobody_knows(names):
    with pytest.raises(StructureError, match=r"config\.architectures is .* from_pretrained\(path, MyModel\)"):
        class_of(config(architectures=names), None)


def test_what_is_no_class():
    with pytest.raises(StructureError, match="expected the class of a model, or an Auto class, found 'bert'"):
        class_of(config(), "bert")


def test_the_configuration_by_its_own_class(tmp_path):
    class OwnConfig(transformers.BertConfig):
        model_type = "somebodys"

    class Own(transformers.BertModel):
        config_class = OwnConfig

    OwnConfig(hidden_size=8, num_attention_heads=2).save_pretrained(tmp_path)
    assert type(saved_config(tmp_path, Own)) is OwnConfig
    config().save_pretrained(tmp_path)
    assert type(saved_config(tmp_path, None)) is transformers.BertConfig

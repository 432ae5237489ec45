"""Checkpoints with gates: found out by their files, and put together from the plan beside them."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

from integrations.transformers.tiny import build, close, gated, half, halved, inputs, same  # noqa: E402

import lzero  # noqa: E402
from lzero.errors import StructureError  # noqa: E402
from lzero.integrations.transformers.gated import PLAN, is_gated, load_gated, save_plan  # noqa: E402


def checkpoint(folder, name, **options):
    """A gated model that has seen one step, saved with its plan."""
    model = gated(name)
    gates = lzero.gates_of(model)
    with pytest.warns(lzero.LzeroWarning, match="are few"):
        solver = lzero.Solver(gates, 0.7, total_steps=10)
    model(**inputs(name)).logits.sum().backward()
    solver.step()
    model.save_pretrained(folder, **options)
    save_plan(gates, folder)
    return model


@pytest.mark.parametrize("name", ["BERT", "GPT-2", "ViT"])
def test_gates_and_their_training_come_back(name, tmp_path):
    model = checkpoint(tmp_path, name, max_shard_size="20KB")
    assert is_gated(tmp_path)
    before = torch.random.get_rng_state()
    back = load_gated(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    one, two = model.state_dict(), back.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert same(back, model, name)
    with pytest.warns(lzero.LzeroWarning, match="are few"):
        assert lzero.Solver(lzero.gates_of(back), 0.7, total_steps=10).steps == 1


def test_a_settled_model_purges_to_the_same(tmp_path):
    model = halved(gated("Llama"))
    gates = lzero.gates_of(model)
    close(gates, half)
    gates.hold(gates.open_mask())
    model.save_pretrained(tmp_path)
    save_plan(gates, tmp_path)
    back = load_gated(tmp_path, transformers.AutoModelForCausalLM)
    assert back.dtype == torch.bfloat16
    small, again = (lzero.purge(each, settle=False).model for each in (model, back))
    assert same(small, again, "Llama")


def test_without_a_plan_units_are_discovered_again(tmp_path):
    model = checkpoint(tmp_path, "ViT")
    (tmp_path / PLAN).unlink()
    assert same(load_gated(tmp_path), model, "ViT")
    assert same(load_gated(tmp_path, example_inputs=inputs("ViT")), model, "ViT")


@pytest.mark.parametrize("how", [{"ignore": "vit.layers.0.mlp"}, {"granularity": "input"}], ids=["fewer", "more"])
def test_other_gates_are_refused(how, tmp_path):
    checkpoint(tmp_path, "ViT")
    with pytest.raises(StructureError, match=r"holds other gates than .* pass plan="):
        load_gated(tmp_path, **how)


def test_plain_folders_have_no_gates(tmp_path):
    build("ViT").save_pretrained(tmp_path)
    assert not is_gated(tmp_path) and not is_gated(tmp_path / "nowhere") and not is_gated("google/vit")


def test_the_plan_of_a_checkpoint_says_what_widths_are_rounded_to(tmp_path):
    model = build("BERT")
    gates = lzero.attach_gates(model, inputs("BERT"), round_to=8)
    close(gates, half)
    model.save_pretrained(tmp_path)
    save_plan(gates, tmp_path)
    back = load_gated(tmp_path)
    assert lzero.gates_of(back).plan.round_to == 8 and lzero.gates_of(back).masks.stepped == gates.masks.stepped
    hidden = [lzero.purge(each, settle=False).model.config.intermediate_size for each in (model, back)]
    assert hidden[0] == hidden[1] and hidden[0] % 8 == 0

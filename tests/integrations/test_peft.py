"""peft: gates around adapters, adapters after gates, masks alone, and merges in the right order."""

import copy
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.errors import LzeroWarning, StructureError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::lzero.LzeroWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
peft = pytest.importorskip("peft")

X = torch.randn(64, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def network():
    torch.manual_seed(0)
    layers = {"a": nn.Linear(8, 24), "r": nn.ReLU(), "b": nn.Linear(24, 16), "s": nn.ReLU(), "c": nn.Linear(16, 3)}
    return nn.Sequential(OrderedDict(layers)).double()


def lora(**options):
    return peft.LoraConfig(**{"r": 4, "target_modules": ["a", "b"], "init_lora_weights": False, **options})


def adapted(config=None):
    torch.manual_seed(1)
    return peft.get_peft_model(network(), config or lora(), autocast_adapter_dtype=False).double()


def scattered(gates, seed=5):
    """Gates half open."""
    with torch.no_grad():
        gates.log_alpha.uniform_(-4, 4, generator=torch.Generator().manual_seed(seed))
    return gates


def train(model, solver, steps):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        solver.step()
        optimizer.step()


def merged_gap(result, inputs):
    outputs = result.model.eval()(inputs)
    return float((result.model.merge_and_unload().eval()(inputs) - outputs).abs().max())


def test_lora_then_gates_train_to_the_budget_purge_exactly_and_merge():
    model = adapted()
    gates = lzero.attach_gates(model, X[:2])
    assert {group.name.rpartition("model.")[2]: group.size for group in gates.plan} == {
        "a.base_layer": 24,
        "b.base_layer": 16,
    }
    assert "the rank of LoRA" in str(gates.plan)
    base = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    solver = lzero.Solver(gates, 0.4, total_steps=300)
    train(model, solver, 300)
    after = dict(model.named_parameters())
    assert base and all(torch.equal(value, after[name]) for name, value in base.items())  # frozen, as peft leaves it
    result = lzero.purge(model)
    assert 0 <= 0.4 - result.certificate.deployed["params"] < 0.06 and result.certificate.largest_difference < 1e-12
    layer = result.model.base_model.model.b
    assert layer.lora_A.default.weight.shape == (4, int(result.kept["base_model.model.a.base_layer"].sum()))
    assert layer.lora_B.default.weight.shape == (int(result.kept["base_model.model.b.base_layer"].sum()), 4)
    assert merged_gap(result, X) < 1e-12


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.c(self.b(self.a(x).relu()).relu().mean((2, 3)))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.e, self.a, self.c = nn.Embedding(20, 12), nn.Linear(12, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.c(self.a(self.e(x)).relu()).mean(1)


def gpt2():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32}
    config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, use_cache=False)
    return transformers.GPT2LMHeadModel(config)


IMAGES, TOKENS = torch.randn(2, 3, 9, 9, dtype=torch.float64), torch.randint(20, (4, 6))
BOTH, SECOND, NONE = {"a", "b"}, {"b"}, set()
TUNERS = {  # which of the two layers keep their units
    "LoRA": (network, lambda: lora(), X, BOTH),
    "rsLoRA": (network, lambda: lora(use_rslora=True), X, BOTH),
    "LoRA with biases": (network, lambda: lora(bias="all"), X, BOTH),
    "modules_to_save": (network, lambda: lora(target_modules=["a"], modules_to_save=["b"]), X, BOTH),
    "convolutions": (Convolutions, lambda: lora(), IMAGES, BOTH),
    "embedding": (Words, lambda: lora(target_modules=["e", "a"]), TOKENS, {"a", "e"}),
    "IA3": (
        network,
        lambda: peft.IA3Config(target_modules=["a", "b"], feedforward_modules=["b"], init_ia3_weights=False),
        X,
        BOTH,
    ),
    "DoRA": (network, lambda: lora(use_dora=True), X, SECOND),
    "AdaLoRA": (
        network,
        lambda: peft.AdaLoraConfig(
            init_r=4, target_r=2, target_modules=["a", "b"], total_step=100, init_lora_weights=False
        ),
        X,
        SECOND,
    ),
    "LoHa": (network, lambda: peft.LoHaConfig(r=4, target_modules=["a", "b"], init_weights=False), X, SECOND),
    "LoKr": (network, lambda: peft.LoKrConfig(r=4, target_modules=["a", "b"], init_weights=False), X, SECOND),
    "VeRA": (network, lambda: peft.VeraConfig(r=4, target_modules=["b"]), X, SECOND),
    "OFT": (network, lambda: peft.OFTConfig(r=0, oft_block_size=4, target_modules=["b"]), X, SECOND),
}


@pytest.mark.parametrize("tuner", TUNERS)
def test_every_tuner_is_gated_exactly_or_refused_with_its_reason(tuner):
    build, config, inputs, expected = TUNERS[tuner]
    torch.manual_seed(1)
    model = peft.get_peft_model(build(), config(), autocast_adapter_dtype=False).double()
    gates = scattered(lzero.attach_gates(model, inputs))
    places = {group.name.removeprefix("base_model.model.").partition(".")[0] for group in gates.plan}
    assert places == expected
    for refused in gates.plan.refusals:
        assert refused.reason
    result = lzero.purge(model, settle=False)
    assert 0 < int(sum(mask.sum() for mask in result.kept.values())) < len(gates)
    assert result.certificate.largest_difference < 1e-12
    assert merged_gap(result, inputs) < 1e-12


def test_the_transposed_layers_of_gpt2_are_covered():
    words = torch.randint(50, (2, 7))
    config = peft.LoraConfig(
        r=4, target_modules=["c_attn", "c_fc", "c_proj"], fan_in_fan_out=True, init_lora_weights=False
    )
    torch.manual_seed(1)
    model = peft.get_peft_model(gpt2(), config, autocast_adapter_dtype=False).double()
    gates = scattered(lzero.attach_gates(model, {"input_ids": words}))
    assert sorted(group.size for group in gates.plan) == [4, 4, 96, 96]
    result = lzero.purge(model, settle=False)
    outputs = result.model.eval()(input_ids=words).logits
    merged = result.model.merge_and_unload().eval()
    assert float((merged(input_ids=words).logits - outputs).detach().abs().max()) < 1e-12


def test_merges_are_refused_while_gates_are_on_and_change_nothing():
    model = adapted()
    scattered(lzero.attach_gates(model, X[:2]))
    outputs, before = model.eval()(X), copy.deepcopy(model.state_dict())
    b = model.base_model.model.b
    for merge in (model.merge_adapter, model.merge_and_unload, b.merge, b.unmerge, lambda: b.merge(safe_merge=True)):
        with pytest.raises(StructureError, match=r"merge: gates are attached.*lzero\.purge\(model\)\.model\.merge"):
            merge()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model(X), outputs)
    with model.disable_adapter():
        model(X)
    lzero.detach_gates(model)
    torch.testing.assert_close(model(X), outputs)
    model.merge_adapter()
    torch.testing.assert_close(model(X), outputs)


@pytest.mark.parametrize("built", ["before", "after"])
def test_adapters_around_gates_are_refused_at_the_next_forward_and_at_purge(built):
    model = network()
    gates = lzero.attach_gates(model, X[:2])
    solver = lzero.Solver(gates, 0.4, total_steps=300) if built == "before" else None
    wrapped = peft.get_peft_model(model, lora())
    solver = solver or lzero.Solver(gates, 0.4, total_steps=300)
    for one in (wrapped, model):
        with pytest.raises(StructureError, match=r"a\.lora_A\.default\.weight: belongs to an adapter"):
            one(X)
    with pytest.raises(lzero.SolverError):
        solver.step()
    with pytest.raises(StructureError, match="belongs to an adapter"):
        lzero.purge(model)
    lzero.detach_gates(wrapped)  # the way out that the message names
    solver = lzero.Solver(lzero.attach_gates(wrapped, X[:2]), 0.4, total_steps=300)
    train(wrapped.double(), solver, 2)


def test_a_second_adapter_on_a_gated_model_is_refused_too():
    model = adapted()
    lzero.Solver(lzero.attach_gates(model, X[:2]), 0.4, total_steps=300)
    model.add_adapter("second", lora())
    with pytest.raises(StructureError, match=r"lora_A\.second\.weight: belongs to an adapter"):
        model(X)


@pytest.mark.parametrize("state", ["drawn", "held"])
def test_gates_then_lora_keeps_the_gates_and_what_the_model_gives(state):
    model = network()
    gates = scattered(lzero.attach_gates(model, X[:2]))
    if state == "held":
        gates.hold(gates.open_mask())
    outputs = model.eval()(X)
    config = lora(init_lora_weights=True)
    found = lzero.integrations.peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    new = lzero.gates_of(found)
    assert isinstance(found, peft.PeftModel) and found.peft_config["default"] is config
    assert torch.equal(new.log_alpha, gates.log_alpha) and (new.held is None) == (state == "drawn")
    torch.testing.assert_close(found.double().eval()(X), outputs, rtol=0, atol=1e-12)
    assert {name for name, p in found.named_parameters() if p.requires_grad} == {
        name for name, _ in found.named_parameters() if "lora_" in name
    }
    found.train()
    solver = lzero.Solver(new, 0.4, total_steps=300, fresh=True)
    train(found, solver, 20)
    result = lzero.purge(found)
    assert result.certificate.deployed["params"] <= 0.4 and merged_gap(result, X) < 1e-12


def test_gates_then_lora_of_a_gpt2_with_heads():
    words = torch.randint(50, (2, 7))
    model = gpt2().double()
    gates = scattered(lzero.attach_gates(model, {"input_ids": words}))
    outputs = model.eval()(input_ids=words).logits
    config = peft.LoraConfig(r=4, target_modules=["c_attn", "c_fc", "c_proj"], fan_in_fan_out=True)
    found = lzero.integrations.peft.get_peft_model(model, config).double()
    assert torch.equal(lzero.gates_of(found).log_alpha, gates.log_alpha)
    torch.testing.assert_close(found.eval()(input_ids=words).logits, outputs, rtol=0, atol=1e-12)


def test_what_adapters_make_impossible_is_refused_and_the_model_is_as_it_was():
    model = network()
    gates = scattered(lzero.attach_gates(model, X[:2]))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with pytest.raises(StructureError, match=r"^a: with these adapters its units cannot go on as they are: it"):
        lzero.integrations.peft.get_peft_model(model, lora(use_dora=True))
    assert lzero.gates_of(model) is gates and torch.equal(torch.get_rng_state(), state)
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    model(X)
    with pytest.raises(StructureError, match="no gates attached"):
        lzero.integrations.peft.get_peft_model(network(), lora())


def test_saving_adapters_of_a_gated_model_says_what_is_not_in_there(tmp_path):
    model = adapted()
    scattered(lzero.attach_gates(model, X[:2]))
    with pytest.warns(LzeroWarning, match=r"PeftModel\.save_pretrained: .* neither the gates nor the state"):
        model.save_pretrained(tmp_path / "gated")
    again = adapted()
    lzero.attach_gates(again, X[:2])
    again.load_state_dict(model.state_dict())  # what the warning names
    assert torch.equal(again.eval()(X), model.eval()(X))
    small = lzero.purge(model, constraints=[lzero.Constraint(0.6)]).model
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        small.save_pretrained(tmp_path / "small")
    assert not [w for w in said if issubclass(w.category, LzeroWarning)]


def test_masks_alone_on_a_frozen_base():
    model = network().requires_grad_(False)
    before = copy.deepcopy(model)
    gates = lzero.attach_gates(model, X[:2], rescale=False)
    solver = lzero.Solver(gates, 0.6, total_steps=200, finetune=0)
    for _ in range(200):
        F.cross_entropy(model(X), Y).backward()
        solver.step()
    result = lzero.purge(model)
    assert result.certificate.deployed["params"] <= 0.6
    rows = result.model.a.weight
    assert torch.equal(rows, before.a.weight[result.kept["a"]])


@pytest.mark.parametrize("config", [lora(), lora(target_modules=["a"])])
def test_adapters_on_gates_keep_what_widths_are_rounded_to(config):
    model = network()
    gates = lzero.attach_gates(model, X[:2], round_to={"": 4, "b": 6})
    found = lzero.integrations.peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    steps = lzero.gates_of(found).plan.steps
    assert list(steps.values()) == list(gates.plan.steps.values()) == [6, 6]
    scattered(lzero.gates_of(found))
    assert all(int(mask.sum()) % 6 == 0 or mask.all() for mask in lzero.purge(found).kept.values())

"""A purged model on its way out: exported, compiled, quantized, and compared with itself on fresh inputs.

The purged model must do all that the dense one does: another batch size than the one that was traced, outputs equal to
rounding, and, in int8, no more off than the rounding steps of weights and activations add up to.
"""

from __future__ import annotations

import copy

import pytest
import torch
from decoders import decoder
from purged import purge_anywhere
from torch import nn

import lzero
from lzero.surgery.gathered_linear import GatheredLinear
from lzero_lab.models import MLP, LeNet5

pytestmark = [
    pytest.mark.filterwarnings("ignore::lzero.LzeroWarning"),  # of trainings that never were
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated"),
]
BATCH = torch.export.Dim("batch", min=2, max=64)


class Recurrent(nn.Module):
    """Words to classes by an LSTM."""

    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(20, 12), nn.LSTM(12, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, ids):
        return self.out(self.lstm(self.embed(ids))[0][:, -1])


def bert():
    library = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return library.BertForSequenceClassification(library.BertConfig(vocab_size=50, max_position_embeddings=16, **sizes))


def gpt2():
    model = decoder("gpt2")
    model.config.use_cache = False  # a cache is an object that no exporter knows, of a dense model as well
    return model


def words(n):
    return {"input_ids": torch.randint(0, 50, (n, 7))}


# name -> the dense model, fresh inputs of n examples, granularity
NETS = {
    "mlp, units": (lambda: MLP(12, (20, 14), 3), lambda n: torch.randn(n, 12), "unit"),
    "mlp, inputs": (lambda: MLP(12, (20, 14), 3), lambda n: torch.randn(n, 12), "input"),
    "cnn": (lambda: LeNet5(1, 8, (4, 6), 10, 3), lambda n: torch.randn(n, 1, 8, 8), "input"),
    "lstm": (Recurrent, lambda n: torch.randint(0, 20, (n, 5)), "unit"),
    "bert": (bert, words, "unit"),
    "gpt2": (gpt2, words, "unit"),
}
QUICK = ("mlp, units", "mlp, inputs", "cnn", "lstm")


def quick(*names):
    """Every network, but only those called so outside the slow tests."""
    params = [name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in NETS]
    return pytest.mark.parametrize("name", params)


EVERY = pytest.mark.parametrize("name", NETS)


@pytest.fixture(scope="module")
def small():
    """Purged models by name, made once."""
    made = {}

    def get(name):
        if name not in made:
            build, inputs, granularity = NETS[name]
            made[name] = purge_anywhere(build, inputs(3), granularity, target=0.5).model.eval()
        return copy.deepcopy(made[name]), NETS[name][1]

    return get


def split(x):
    """Positional and keyword arguments."""
    return ((), x) if isinstance(x, dict) else ((x,), {})


@torch.no_grad()
def outputs(model, x):
    args, named = split(x)
    found = model(*args, **named)
    return getattr(found, "logits", found)


def dynamic(x):
    return {name: {0: BATCH} for name in x} if isinstance(x, dict) else ({0: BATCH},)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_models_are_smaller_and_one_gathers_its_inputs(small):
    for name in QUICK:
        model, dense = small(name)[0], NETS[name][0]()
        counts = [sum(parameter.numel() for parameter in m.parameters()) for m in (model, dense)]
        assert counts[0] <= 0.5 * counts[1]
    assert isinstance(small("mlp, inputs")[0].fc1, GatheredLinear)
    assert isinstance(small("cnn")[0].fc1, GatheredLinear)


@quick("mlp, inputs", "lstm")
def test_torch_export_gives_the_same_at_another_batch_size(name, small):
    model, inputs = small(name)
    args, named = split(inputs(2))
    program = torch.export.export(model, args, named, dynamic_shapes=dynamic(inputs(2))).module()
    for n in (2, 5):
        x = inputs(n)
        close(outputs(program, x), outputs(model, x))


@quick("mlp, inputs")
def test_torch_compile_takes_all_of_it_as_one_graph(name, small):
    model, inputs = small(name)
    torch.compiler.reset()
    with torch._dynamo.config.patch(allow_rnn=True):  # recurrent layers are only compiled on request
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        for n in (2, 5):
            x = inputs(n)
            close(outputs(compiled, x), outputs(model, x))


@EVERY
@pytest.mark.slow
def test_onnxruntime_gives_the_same_at_another_batch_size(name, small, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, inputs = small(name)
    args, named = split(inputs(2))
    program = torch.onnx.export(model, args, kwargs=named, dynamo=True, dynamic_shapes=dynamic(inputs(2)))
    program.save(tmp_path / "small.onnx")
    session = runtime.InferenceSession(tmp_path / "small.onnx")
    for n in (2, 5):
        x = inputs(n)
        fed = {entry.name: (x[entry.name] if isinstance(x, dict) else x).numpy() for entry in session.get_inputs()}
        close(torch.from_numpy(session.run(None, fed)[0]), outputs(model, x))


def seen_by(model, x):
    """Path -> what every plain Linear reads and gives in one forward."""
    seen = {}

    def note(path):
        return lambda _, args, out: seen.update({path: (args[0], out)})

    hooks = [
        module.register_forward_hook(note(path)) for path, module in model.named_modules() if type(module) is nn.Linear
    ]
    outputs(model, x)
    for hook in hooks:
        hook.remove()
    return seen


def rounding(linear, x, *, per_row, activations):
    """The most that int8 can change in ``x @ weight.T``: the steps of weights and activations, summed.

    A weight is off by at most half a step, max|w| / 127 / 2; an activation, if it is rounded too, in 7 bits, by at most
    one step (range / 127: half for the value, half for the zero). The bias is not rounded.
    """
    weight = linear.weight.detach().abs()
    step = (weight.amax(1) if per_row else weight.max().expand(len(weight))) / 127 / 2
    most = x.abs().sum(-1, keepdim=True) * step
    if activations:
        width = (x.max().clamp_min(0) - x.min().clamp_max(0)) / 127
        most = most + width * (weight.sum(1) + x.shape[-1] * step)
    return most * 1.001 + 1e-6


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


@quick(*QUICK)
def test_dynamic_quantization_reaches_every_linear_and_costs_its_rounding(name, small):
    model, inputs = small(name)
    kinds = {nn.Linear: torch.ao.nn.quantized.dynamic.Linear, nn.LSTM: torch.ao.nn.quantized.dynamic.LSTM}
    quantized = torch.ao.quantization.quantize_dynamic(model, set(kinds), dtype=torch.qint8)
    x = inputs(64)
    for path, module in model.named_modules():
        assert type(quantized.get_submodule(path)) is kinds.get(type(module), type(module)), path
    for path, (read, given) in seen_by(model, x).items():
        linear, other = model.get_submodule(path), quantized.get_submodule(path)
        assert ((other(read) - given).abs() <= rounding(linear, read, per_row=False, activations=True)).all(), path
    dense = NETS[name][0]().eval()
    cost = relative(outputs(torch.ao.quantization.quantize_dynamic(dense, set(kinds)), x), outputs(dense, x))
    assert relative(outputs(quantized, x), outputs(model, x)) < 2 * cost + 0.005  # fewer terms, less averaging


@EVERY
@pytest.mark.slow
def test_torchao_reaches_every_linear_and_costs_its_rounding(name, small):
    torchao = pytest.importorskip("torchao.quantization")
    model, inputs = small(name)
    quantized = copy.deepcopy(model)
    torchao.quantize_(quantized, torchao.Int8WeightOnlyConfig())
    x = inputs(64)
    seen = seen_by(model, x)
    for path, (read, given) in seen.items():
        linear, other = model.get_submodule(path), quantized.get_submodule(path)
        assert type(other.weight) not in (torch.Tensor, nn.Parameter), path
        with torch.no_grad():
            off = (other(read) - given).abs()
        assert (off <= rounding(linear, read, per_row=True, activations=False)).all(), path
    assert len(seen) == sum(type(module) is nn.Linear for module in model.modules()) > 0
    dense, whole = NETS[name][0]().eval(), NETS[name][0]().eval()
    whole.load_state_dict(dense.state_dict())
    torchao.quantize_(whole, torchao.Int8WeightOnlyConfig())
    cost = relative(outputs(whole, x), outputs(dense, x))
    assert relative(outputs(quantized, x), outputs(model, x)) < 2 * cost + 0.005


@pytest.mark.slow
def test_each_export_of_a_reloaded_model_is_that_of_the_purged_one(small, tmp_path):
    build, inputs, granularity = NETS["mlp, inputs"]
    result = purge_anywhere(build, inputs(3), granularity, target=0.5)
    lzero.save_purged(result, tmp_path)
    again = lzero.load_purged(build(), tmp_path).eval()
    x = inputs(5)
    programs = [
        torch.export.export(model, (inputs(2),), dynamic_shapes=dynamic(x)) for model in (result.model.eval(), again)
    ]
    one, two = programs
    assert str(one.graph) == str(two.graph) and one.module()(x).equal(two.module()(x))


@pytest.mark.slow
def test_the_table_of_a_transformer_fits_a_window():
    text = str(purge_anywhere(bert, words(3), "unit", target=0.6))
    assert max(map(len, text.splitlines())) <= 100 and "bert.encoder.layer.1.intermediate" in text

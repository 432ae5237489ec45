"""No file but ``_torch.py`` touches a private name of PyTorch, and what is in there does what it says."""

import ast
import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import lzero.errors
from lzero import _torch

ROOT = Path(lzero.errors.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "_torch.py")

# Tables of nn.Module that are used as they are, and methods that are overridden under the name that PyTorch calls.
PROTECTED = {"_parameters", "_buffers", "_modules", "_apply", "_load_from_state_dict"}


def private(name):
    return name.startswith("_") and not name.startswith("__") and name not in PROTECTED


# Of modules: no name of these is the library's own, whoever defines it too.
OF_MODULES = {
    name for kind in (nn.Module(), nn.LSTM(1, 1), nn.MultiheadAttention(1, 1)) for name in dir(kind) if private(name)
} | {"_orig_mod", "_ddp_params_and_buffers_to_ignore", "_should_skip_dynamo"}


def own_names(trees):
    """Private names that the library defines, as functions, classes or attributes of its own objects."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names - OF_MODULES


OWN = own_names([ast.parse(path.read_text(encoding="utf-8")) for path in FILES])


def violations(tree, own=OWN):
    """The private names of PyTorch that the code of ``tree`` reads, writes, imports, overrides or names in a string."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Attribute):
            root = ast.unparse(node.value).partition(".")[0]
            mine = node.attr in own and root not in ("torch", "nn", "Tensor")
            names = [] if mine or root == "sys" else [node.attr]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names if alias.name.startswith("torch") for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [node.name] if node.name in OF_MODULES else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            if re.fullmatch(r"torch(\.\w+)+", node.value):
                names = node.value.split(".")
            elif node.value in OF_MODULES:
                names = [node.value]
        found += [f"line {node.lineno}: {name}" for name in names if private(name)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_private_names_of_torch_have_one_home(path):
    assert violations(ast.parse(path.read_text(encoding="utf-8"))) == [], "give it a name in lzero/_torch.py"


@pytest.mark.parametrize(
    "source",
    [
        "torch._C._set_mkldnn_enabled(False)",
        "x = nn.modules.conv._ConvNd",
        "module._flat_weights = []",
        "self._forward_pre_hooks",
        "tensor._version",
        "from torch.utils._python_dispatch import TorchDispatchMode",
        "from torch.nn.modules.batchnorm import _NormBase",
        "import torch._dynamo",
        "getattr(module, '_compiled_call_impl')",
        "'torch._dynamo' in sys.modules",
        "class A:\n    def _call_impl(self): ...",
        "module._something_new_of_theirs",
        "torch._check(True)",
    ],
)
def test_a_private_name_is_noticed(source):
    assert violations(ast.parse(source), {"_check"})


@pytest.mark.parametrize(
    "source",
    [
        "module._parameters",
        "sys._getframe(1)",
        "self._check(True)",
        "x.__class__",
        "'aten._softmax'",
        "from lzero._torch import version",
        "def f():\n    '''torch._C'''",
    ],
)
def test_a_name_of_ones_own_or_in_words_is_none(source):
    assert violations(ast.parse(source), {"_check"}) == []


def test_every_name_says_what_happens_if_it_is_gone():
    tree = ast.parse(Path(_torch.__file__).read_text(encoding="utf-8"))
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name, words = node.name, ast.get_docstring(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            words = after.value.value if isinstance(after, ast.Expr) else None
        else:
            continue
        assert private(name) or re.search("Fails closed|Falls back|Gone", words or ""), name


def test_classes_are_the_bases_of_what_they_say():
    kinds = [getattr(nn, f"Conv{t}{d}d") for t in ("", "Transpose") for d in (1, 2, 3)]
    assert all(issubclass(kind, _torch.CONVOLUTIONS) for kind in kinds)
    norms = [nn.BatchNorm1d, nn.SyncBatchNorm, nn.InstanceNorm3d]
    assert all(issubclass(kind, _torch.NORMS) for kind in norms)
    assert not issubclass(nn.Linear, (*_torch.CONVOLUTIONS, *_torch.NORMS))
    assert type(torch.compile(nn.Linear(2, 2), backend="eager")).__name__ == _torch.COMPILED[1]


def test_versions_count_and_views_share_a_key():
    tensor = torch.zeros(3)
    before = _torch.version(tensor)
    tensor.add_(1)
    assert _torch.version(tensor) > before
    assert _torch.memory_key(tensor[1:]) == _torch.memory_key(tensor) != _torch.memory_key(tensor.clone())


def test_backward_and_hooks_on_what_is_saved_are_seen():
    seen = []

    def note(x):
        seen.append((_torch.in_backward(), _torch.saving_is_hooked()))
        return x.sin()

    checkpoint(note, torch.ones(2, requires_grad=True), use_reentrant=False).sum().backward()
    assert [inside for inside, _ in seen] == [False, True] and seen[0][1]
    assert not _torch.in_backward()
    known = _torch._top_hooks is not None
    assert _torch.saving_is_hooked() is not known


def test_without_the_question_saving_counts_as_hooked(monkeypatch):
    monkeypatch.setattr(_torch, "_top_hooks", None)  # as on torch 2.6.0
    assert _torch.saving_is_hooked()
    assert not _torch.can_decompose(object())


def test_packed_kernels_come_back_also_after_an_error():
    before = torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()
    with pytest.raises(ValueError), _torch.without_packed_kernels():
        assert not torch._C._get_mkldnn_enabled()
        raise ValueError
    assert torch._C._get_mkldnn_enabled() == before


def test_a_copy_of_a_compiled_module_runs_its_own_forward():
    module = nn.Linear(2, 2)
    module.compile(backend="eager")
    _torch.forget_compiled_call(module)
    _torch.forget_compiled_call(module)
    assert module._compiled_call_impl is None


def test_what_was_compiled_is_told_and_nothing_else():
    module = nn.Linear(2, 2)
    method = module.forward
    assert _torch.compiled_from(torch.compile(method, backend="eager")) == method
    assert _torch.compiled_from(method) is None and _torch.compiled_from(module) is None


def test_recurrent_layers_read_what_is_set():
    layer = nn.RNN(2, 2)
    assert _torch.flat_weight_names(layer)[0] == "weight_ih_l0"
    x, plain = torch.randn(3, 2), copy.deepcopy(layer)
    _torch.set_flat_weights(layer, [weight * 2 for weight in layer.parameters()])
    assert not layer(x)[0].equal(plain(x)[0])


def test_hooks_are_removed_with_their_notes_and_others_stay():
    def hook(*_):
        return None

    layer = nn.Linear(2, 2)
    layer.register_forward_pre_hook(hook, with_kwargs=True)
    layer.register_forward_hook(hook, with_kwargs=True, always_call=True)
    layer.register_state_dict_post_hook(hook)
    layer.register_load_state_dict_pre_hook(hook)
    layer.register_forward_pre_hook(print)
    _torch.remove_hooks(layer, lambda found: found is hook)
    assert list(_torch.forward_pre_hooks(layer).values()) == [print]
    for table in ("_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs",
                  "_forward_hooks_always_called", "_state_dict_hooks", "_load_state_dict_pre_hooks"):  # fmt: skip
        assert not getattr(layer, table), table


def test_a_buffer_is_saved_from_now_on():
    module = nn.Module()
    module.register_buffer("mask", torch.ones(2), persistent=False)
    assert not module.state_dict()
    _torch.save_buffer(module, "mask")
    assert list(module.state_dict()) == ["mask"]


def test_projections_are_taken_for_one_or_several_for_a_while():
    attention = nn.MultiheadAttention(4, 2)
    with pytest.raises(ValueError), _torch.fused_projections(attention, False):
        assert not attention._qkv_same_embed_dim
        raise ValueError
    assert attention._qkv_same_embed_dim
    _torch.avoid_fused_attention(attention)
    assert not attention._qkv_same_embed_dim

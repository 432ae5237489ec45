"""Wrapped models are told the order; what is inside of wrappers is found."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from nets import mlp
from torch import distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

import lzero
from lzero.errors import StructureError
from lzero.host.wrappers import check_unwrapped, restore_forward, unwrap

X = torch.randn(5, 12)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """One gloo process."""
    distributed.init_process_group("gloo", store=distributed.FileStore(str(tmp_path / "meet"), 1), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


def refused(model: nn.Module, message: str) -> None:
    for act in (check_unwrapped, lambda model: lzero.discover(model, X)):
        with pytest.raises(StructureError, match=message):
            act(model)


@pytest.mark.parametrize(
    ("wrap", "name", "inside"),
    [
        (compiled, r"torch\.compile", "_orig_mod"),
        (AveragedModel, "AveragedModel", "module"),
        (DataParallel, "DataParallel", "module"),
    ],
)
def test_a_wrapped_model_is_told_the_order(wrap: Any, name: str, inside: str) -> None:
    refused(wrap(mlp()), rf"wrapped already.* first, and wrap it afterwards.*then {name}\(model\) .*\.{inside}\)")


def test_distributed_data_parallel_is_told_the_order(group: None) -> None:
    model = mlp()
    wrapped = DistributedDataParallel(model)
    refused(wrapped, r"^DistributedDataParallel: .*then DistributedDataParallel\(model\)")
    refused(nn.Sequential(wrapped, nn.Linear(3, 2)), "^0: is wrapped already, by DistributedDataParallel")
    assert unwrap(wrapped) is model
    assert unwrap(compiled(wrapped)) is unwrap(DistributedDataParallel(compiled(model))) is model
    check_unwrapped(unwrap(wrapped))
    lzero.attach_gates(model, X)  # the order that the message asks for
    DistributedDataParallel(model)(X).sum().backward()


def test_sharded_models_are_told_the_order(group: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    mesh = init_device_mesh("cpu", (1,))
    whole, part, inner = mlp(), mlp(), mlp()
    fully_shard(whole, mesh=mesh)
    refused(whole, r"^FSDPSequential: .*by FSDPModule.*then fully_shard\(model\)$")
    fully_shard(part[2], mesh=mesh)
    refused(part, "^2: is wrapped already, by FSDPModule")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sharded = FullyShardedDataParallel(inner, device_id=torch.device("cpu"))
    refused(sharded, "by FullyShardedDataParallel.*use_orig_params=True")
    assert unwrap(whole) is whole


def test_distributed_tensors_are_told_the_order(group: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor

    model = mlp()
    model[2].weight = nn.Parameter(distribute_tensor(model[2].weight.detach(), init_device_mesh("cpu", (1,))))
    refused(model, r"^2\.weight: is sharded already \(a DTensor\)")
    with pytest.raises(StructureError, match=r"^2\.weight is sharded .*load first"):
        lzero.load_purged(model, mlp().state_dict())
    with pytest.raises(StructureError, match=r"^2\.weight: .* found one that is sharded .*full_tensor"):
        lzero.load_purged(mlp(), model.state_dict())


def test_a_teacher_by_averages_is_a_part_like_others() -> None:
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    model.teacher = AveragedModel(nn.Linear(12, 3))
    check_unwrapped(model)


def test_what_is_inside_is_found_through_any_nest() -> None:
    model = mlp()
    assert unwrap(model) is model
    for wrap in (compiled, DataParallel):
        assert unwrap(wrap(model)) is unwrap(DataParallel(wrap(model))) is model
    assert unwrap(compiled(DataParallel(DataParallel(compiled(model))))) is model
    around = DataParallel(model)
    del around.module
    assert unwrap(around) is around
    averaged = AveragedModel(compiled(model))
    assert type(unwrap(averaged)) is nn.Sequential
    model.module = nn.Linear(2, 2)  # no wrapper, whatever it calls its parts
    assert unwrap(model) is model


@pytest.mark.slow
def test_no_wrapper_is_imported_to_look_for_it() -> None:
    code = (
        "import sys, types, torch\n"
        "for name in ('lzero', 'lzero.host'):\n"  # without the package's own imports
        "    sys.modules[name] = types.ModuleType(name)\n"
        f"sys.modules['lzero'].__path__ = [{str(Path(lzero.__file__).parent)!r}]\n"
        f"sys.modules['lzero.host'].__path__ = [{str(Path(lzero.__file__).parent / 'host')!r}]\n"
        "from lzero.host.wrappers import check_unwrapped, restore_forward, unwrap\n"
        "model = torch.nn.Linear(2, 2)\n"
        "check_unwrapped(model), unwrap(model)\n"
        "sys.exit(any(name in sys.modules for name in ('torch._dynamo', 'torch.distributed.fsdp')))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def around(model: nn.Module) -> nn.Module:
    """Another forward around that of ``model``, as ``accelerate`` puts one around it for mixed precision."""
    inner = model.forward.__func__
    model._original_forward = model.forward  # type: ignore[assignment]
    model.forward = MethodType(lambda self, x: inner(self, x).bfloat16().float(), model)
    return model


def test_a_forward_around_another_is_taken_off_a_purged_model() -> None:
    model = mlp()
    gates = lzero.attach_gates(model, X)
    with torch.no_grad():
        gates.log_alpha[::2] = -9.0
    plain = lzero.purge(model, settle=False).model
    small = lzero.purge(around(model), settle=False).model
    assert "forward" in vars(model) and "forward" not in vars(small) and "_original_forward" not in vars(small)
    assert torch.equal(small(X), plain(X)) and not torch.equal(model.eval()(X), plain(X))


def test_a_forward_of_the_users_own_comes_back() -> None:
    model = mlp()
    model.forward = MethodType(lambda self, x: x + 1, model)  # type: ignore[method-assign]
    restore_forward(around(model))
    assert torch.equal(model(X), X + 1)
    restore_forward(model)
    assert torch.equal(model(X), X + 1)

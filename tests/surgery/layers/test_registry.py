"""Rules for classes of layers: those of this library, and a user's own."""

from __future__ import annotations

import copy
import doctest
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import lzero
import lzero.surgery.layers.registry as registry
from lzero.errors import StructureError
from lzero.host.run import run
from lzero.surgery.layers import Extent, Saved, cached_sizes, saved_extents

X = torch.randn(3, 4)


class Plain(nn.Module):
    """Keeps its width in a dict, where nobody looks for numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.form = {"width": width}
        self.scale, self.shift = nn.Parameter(torch.rand(width)), nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, self.form["width"]) * self.scale + self.shift


class Known(Plain):
    """The same, with rules."""


@cached_sizes(Known)
def known_sizes(layer: Known) -> None:
    layer.form = {"width": len(layer.scale)}


@saved_extents(Known, one_dtype=True)
def known_extents(layer: Known, saved: Saved) -> Iterator[Iterator[Extent]]:
    yield saved.extents(scale=0, shift=0)


class Wider(Known):
    """A subclass that keeps one thing more."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.twice = 2 * width


@cached_sizes(f"{__name__}.Wider")
def wider_sizes(layer: Wider) -> None:
    layer.twice = 2 * layer.form["width"]  # the base's rule ran first


def net(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), layer, nn.ReLU(), nn.Linear(6, 2))


@pytest.fixture(autouse=True)
def _tables_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIZES", "EXTENTS", "ONE_DTYPE"):
        monkeypatch.setattr(registry, name, copy.copy(getattr(registry, name)))


def test_a_layer_without_a_rule_costs_its_units() -> None:
    (refusal,) = [refusal for refusal in lzero.discover(net(Plain(6)), X).refusals if refusal.size == 6]
    assert "hard-coded size" in refusal.reason


@pytest.mark.parametrize("kind", [Known, Wider])
@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_a_layer_of_ones_own_is_found_purged_and_reloaded(kind: type[Known]) -> None:
    model = net(kind(6))
    fresh = copy.deepcopy(model)
    gates = lzero.attach_gates(model, X)
    assert [(group.name, group.size) for group in gates.plan.groups] == [("0", 6)]
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([9.0, -9.0, 9.0, -9.0, -9.0, 1.0]))
    small = lzero.purge(model).model
    again = lzero.load_purged(fresh, small.state_dict())
    for made in (small, again):
        assert made[1].form == {"width": 3} and getattr(made[1], "twice", 6) == 6
        torch.testing.assert_close(run(made, X), run(model, X))


def test_a_saved_layer_of_ones_own_has_to_agree() -> None:
    state = net(Known(6)).state_dict()
    with pytest.raises(StructureError, match=r"1\.scale and 1\.shift: saved with shapes \[6\] and \[5\]"):
        lzero.load_purged(net(Known(6)), {**state, "1.shift": torch.ones(5)})
    with pytest.raises(StructureError, match=r"1\.scale and 1\.shift: expected one dtype"):
        lzero.load_purged(net(Known(6)), {**state, "1.shift": torch.ones(6).double()})
    unruled = net(Plain(6))
    lzero.load_purged(unruled, {**state, "1.shift": torch.ones(6).double()})


def test_a_parametrized_layer_has_the_rule_of_its_class() -> None:
    layer = nn.Linear(3, 4)
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    assert type(layer) is not nn.Linear
    assert registry.size_rules(layer) == registry.size_rules(nn.Linear(3, 4)) != []
    assert registry.has_one_dtype(layer)


LAYERS = [
    nn.Linear(2, 2), nn.Conv1d(2, 2, 1), nn.ConvTranspose3d(2, 2, 1), nn.BatchNorm2d(2), nn.SyncBatchNorm(2),
    nn.InstanceNorm1d(2), nn.GroupNorm(1, 2), nn.Embedding(2, 2), nn.LSTM(2, 2), nn.GRUCell(2, 2),
    nn.MultiheadAttention(2, 1),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_every_family_is_there_once(layer: nn.Module) -> None:
    assert len(registry.size_rules(layer)) == 1
    assert len(registry.extent_rules(layer)) == (0 if isinstance(layer, nn.Embedding) else 1)


def test_the_later_of_two_rules_holds() -> None:
    @cached_sizes(Known)
    def other(layer: Known) -> None: ...

    assert registry.size_rules(Known(2)) == [other]


@pytest.mark.parametrize("kind", [3, "Linear", Tensor, nn.Linear(1, 1)], ids=str)
@pytest.mark.parametrize("decorator", [cached_sizes, saved_extents])
def test_what_is_no_class_of_modules_is_refused(decorator: object, kind: object) -> None:
    with pytest.raises(StructureError, match=r"kinds: expected classes of modules, or dotted names"):
        decorator(kind)(lambda *_: None)  # type: ignore[operator]


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_the_example_runs() -> None:
    found = doctest.testmod(registry)
    assert found.attempted > 5 and not found.failed

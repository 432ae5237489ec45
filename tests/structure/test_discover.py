from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.errors import StructureError
from lzero.structure.discover import discover
from lzero.structure.plan import Plan

AssertExact = Callable[..., Plan]


def described(plan: Plan) -> dict[str, tuple[int, dict[str, tuple[int, int, str]]]]:
    """{group: (size, {tensor: (dim, width, role)})}, to compare with the truth."""
    return {g.name: (g.size, {m.tensor: (m.dim, m.width, m.role) for m in g.members}) for g in plan.groups}


def sizes(plan: Plan) -> dict[str, int]:
    return {group.name: group.size for group in plan.groups}


def reasons(plan: Plan) -> str:
    return "\n".join(f"{r.name}: {r.reason}" for r in plan.refusals)


class Net(nn.Module):
    """A module made of named parts and a forward given as a function of (self, x)."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self._run = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return self._run(self, *args, **kwargs)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))


def lenet() -> Net:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(net.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(net.conv2(x)), 2)
        return net.fc2(torch.relu(net.fc1(x.flatten(1))))

    parts = {
        "conv1": nn.Conv2d(1, 4, 3),
        "conv2": nn.Conv2d(4, 6, 3),
        "fc1": nn.Linear(24, 10),
        "fc2": nn.Linear(10, 3),
    }
    return Net(forward, **parts)


IMAGE = torch.randn(2, 1, 14, 14)


class TestExpectedGroups:
    def test_mlp(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(mlp(), torch.randn(5, 12))
        assert described(plan) == {
            "0": (8, {"0.weight": (0, 1, "producer"), "0.bias": (0, 1, "coupled"), "2.weight": (1, 1, "consumer")}),
            "2": (6, {"2.weight": (0, 1, "producer"), "2.bias": (0, 1, "coupled"), "4.weight": (1, 1, "consumer")}),
        }
        assert {r.name: r.reason for r in plan.refusals} == {
            "0.input": "it reads features that no gate controls (aten.addmm in 0)",
            "4": "it is an output of the model",
        }
        assert {r.name: r.advice for r in plan.refusals}["0.input"] == (
            'granularity="input" gates the features that it reads'
        )
        assert dict(plan.positions) == {"0.weight": 5, "2.weight": 5, "4.weight": 5}

    def test_lenet(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(lenet(), IMAGE)
        assert sizes(plan) == {"conv1": 4, "conv2": 6, "fc1": 10}
        assert described(plan)["conv2"][1]["fc1.weight"] == (1, 4, "consumer")
        reader = plan.groups[1].consumers[0]
        assert reader.index.tolist() == [[4 * j, 4 * j + 1, 4 * j + 2, 4 * j + 3] for j in range(6)]
        assert dict(plan.positions) == {"conv1.weight": 288, "conv2.weight": 32, "fc1.weight": 2, "fc2.weight": 2}

    def test_vgg_with_batch_norm(self, assert_exact: AssertExact) -> None:
        model = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2)),
            *(nn.Flatten(), nn.Dropout(), nn.Linear(32, 4)),
        )
        plan = assert_exact(model, torch.randn(2, 3, 8, 8))
        assert sizes(plan) == {"0": 6, "4": 8}
        normed = {f"1.{leaf}": (0, 1, "coupled") for leaf in ("weight", "bias", "running_mean", "running_var")}
        assert normed.items() <= described(plan)["0"][1].items()

    def test_residual_blocks_share_the_stream(self, assert_exact: AssertExact) -> None:
        def block() -> Net:
            return Net(
                lambda net, x: F.relu(x + net.bn2(net.conv2(F.relu(net.bn1(net.conv1(x)))))),
                conv1=nn.Conv2d(6, 5, 3, padding=1, bias=False),
                bn1=nn.BatchNorm2d(5),
                conv2=nn.Conv2d(5, 6, 3, padding=1, bias=False),
                bn2=nn.BatchNorm2d(6),
            )

        model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), block(), block(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model.append(nn.Linear(6, 3))
        plan = assert_exact(model, torch.randn(2, 3, 6, 6))
        assert sizes(plan) == {"0": 6, "1.conv1": 5, "2.conv1": 5}
        stream = described(plan)["0"][1]
        assert {name for name, (_, _, role) in stream.items() if role == "producer"} == {
            "0.weight",
            "1.conv2.weight",
            "2.conv2.weight",
        }
        assert {name for name, (_, _, role) in stream.items() if role == "consumer"} == {
            "1.conv1.weight",
            "2.conv1.weight",
            "5.weight",
        }

    def test_pre_activation_reads_the_stream_through_a_norm(self, assert_exact: AssertExact) -> None:
        model = Net(
            lambda net, x: net.fc((s := net.stem(x)).add(net.conv2(F.relu(net.conv1(F.relu(net.bn(s)))))).mean((2, 3))),
            stem=nn.Conv2d(3, 6, 3, padding=1),
            bn=nn.BatchNorm2d(6),
            conv1=nn.Conv2d(6, 4, 3, padding=1),
            conv2=nn.Conv2d(4, 6, 3, padding=1),
            fc=nn.Linear(6, 2),
        )
        assert sizes(assert_exact(model, torch.randn(2, 3, 6, 6))) == {"stem": 6, "conv1": 4}

    def test_concatenation_keeps_every_branch_apart(self, assert_exact: AssertExact) -> None:
        def forward(net: Any, x: Tensor) -> Tensor:
            a = net.a(x)
            b = net.b(F.relu(net.bn(a)))
            both = torch.cat([a, b], 1)
            return net.fc(torch.cat([both, net.c(F.relu(both))], 1).amax((2, 3)))

        parts = {"a": nn.Conv2d(3, 4, 1), "bn": nn.BatchNorm2d(4), "b": nn.Conv2d(4, 5, 1), "c": nn.Conv2d(9, 6, 1)}
        plan = assert_exact(Net(forward, **parts, fc=nn.Linear(15, 2)), torch.randn(2, 3, 5, 5))
        assert sizes(plan) == {"a": 4, "b": 5, "c": 6}
        assert plan.groups[1].members[-1].index.flatten().tolist() == [4, 5, 6, 7, 8]  # columns of fc.weight

    def test_depthwise_separable(self, assert_exact: AssertExact) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8))
        model.extend([nn.Hardswish(), nn.Conv2d(8, 5, 1), nn.Flatten(), nn.Linear(20, 2)])
        plan = assert_exact(model, torch.randn(2, 3, 4, 4))
        assert sizes(plan) == {"0": 4, "5": 5}
        assert described(plan)["0"][1]["2.weight"] == (0, 2, "producer")
        assert described(plan)["0"][1]["5.weight"] == (1, 2, "consumer")

    def test_grouped_convolution_ties_the_groups(self, assert_exact: AssertExact) -> None:
        model = nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=2), nn.ReLU(), nn.Conv2d(12, 2, 1)
        )
        plan = assert_exact(model, torch.randn(2, 3, 5, 5))
        assert sizes(plan) == {"0": 4, "2": 6}
        assert plan.groups[0].members[0].index.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
        assert plan.groups[0].consumers[0].width == 1

    @pytest.mark.parametrize(
        ("model", "x", "expected"),
        [
            (
                nn.Sequential(
                    nn.ConvTranspose2d(3, 6, 2, 2), nn.BatchNorm2d(6), nn.GELU(), nn.ConvTranspose2d(6, 2, 3)
                ),
                torch.randn(2, 3, 4, 4),
                {"0": 6},
            ),
            (
                nn.Sequential(nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ELU(), nn.AvgPool1d(2), nn.Conv1d(6, 2, 3)),
                torch.randn(2, 2, 12),
                {"0": 6},
            ),
            (
                nn.Sequential(nn.Conv3d(1, 4, 2), nn.BatchNorm3d(4), nn.PReLU(4), nn.MaxPool3d(2), nn.Conv3d(4, 2, 1)),
                torch.randn(2, 1, 5, 5, 5),
                {"0": 4},
            ),
            (
                nn.Sequential(nn.Conv2d(1, 4, 2), nn.InstanceNorm2d(4, affine=True), nn.PReLU(), nn.Conv2d(4, 2, 1)),
                torch.randn(2, 1, 5, 5),
                {"0": 4},
            ),
            (
                nn.Sequential(
                    nn.Conv2d(1, 4, 2), nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(4, 2, 1)
                ),
                torch.randn(2, 1, 5, 5),
                {"0": 4},
            ),
            (nn.Sequential(nn.Linear(5, 6), nn.SiLU(), nn.Linear(6, 2)), torch.randn(2, 3, 5), {"0": 6}),
            (
                nn.Sequential(nn.Conv2d(1, 4, 2, padding_mode="circular", padding=1), nn.Conv2d(4, 2, 1)),
                IMAGE,
                {"0": 4},
            ),
        ],
        ids=["transposed", "conv1d", "conv3d", "instance norm", "resize", "sequence", "padding mode"],
    )
    def test_small_families(
        self, model: nn.Module, x: Tensor, expected: dict[str, int], assert_exact: AssertExact
    ) -> None:
        assert sizes(assert_exact(model, x)) == expected

    def test_gated_linear_unit_ties_its_halves(self, assert_exact: AssertExact) -> None:
        def forward(net: Any, x: Tensor) -> Tensor:
            value, gate = net.up(x).chunk(2, -1)
            return net.down(value * F.silu(gate))

        plan = assert_exact(Net(forward, up=nn.Linear(5, 12), down=nn.Linear(6, 3)), torch.randn(4, 5))
        assert sizes(plan) == {"up": 6}
        assert plan.groups[0].members[0].index.tolist() == [[j, j + 6] for j in range(6)]

    def test_tied_weights_have_one_name(self, assert_exact: AssertExact) -> None:
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))
        model[4].weight = model[2].weight
        plan = assert_exact(model, torch.randn(3, 4))
        assert sizes(plan) == {"0": 6}
        assert plan.positions["2.weight"] == 6
        assert "4.weight" not in plan.shapes

    def test_modes_and_frozen_parameters_do_not_matter(self, assert_exact: AssertExact) -> None:
        model = lenet().train()
        model.conv1.requires_grad_(False)
        model.fc1.eval()
        assert sizes(assert_exact(model, IMAGE)) == {"conv1": 4, "conv2": 6, "fc1": 10}

    @pytest.mark.parametrize("inputs", [(IMAGE, IMAGE), [IMAGE, IMAGE], {"x": IMAGE, "y": IMAGE}])
    def test_inputs_in_every_form(self, inputs: Any, assert_exact: AssertExact) -> None:
        model = Net(
            lambda net, x, y: {"out": net.b(F.relu(net.a(x) + net.a(y)))}, a=nn.Conv2d(1, 4, 3), b=nn.Conv2d(4, 2, 1)
        )
        assert sizes(assert_exact(model, inputs)) == {"a": 4}


class TestGranularity:
    def test_input_adds_what_no_unit_owns(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(lenet(), IMAGE, granularity="input")
        assert sizes(plan) == {"conv1": 4, "conv2": 6, "fc1": 10, "fc1.input": 24}
        assert plan.groups[-1].kind == "input"
        assert [(m.tensor, m.dim, m.role) for m in plan.groups[-1].members] == [("fc1.weight", 1, "consumer")]

    def test_input_of_the_first_layer(self, assert_exact: AssertExact) -> None:
        assert sizes(assert_exact(mlp(), torch.randn(5, 12), granularity="input")) == {"0.input": 12, "0": 8, "2": 6}

    def test_features_that_are_gated_are_not_refused(self) -> None:
        plan = discover(mlp(), torch.randn(5, 12), granularity="input")
        assert [refusal.name for refusal in plan.refusals] == ["4"]
        some = discover(mlp(), torch.randn(5, 12), granularity={"2": "input"})
        assert [refusal.name for refusal in some.refusals] == ["0.input", "4"]

    def test_shared_linear_keeps_its_inputs(self) -> None:
        model = Net(lambda net, x: net.b(net.a(x) + F.linear(x, net.a.weight)), a=nn.Linear(5, 4), b=nn.Linear(4, 2))
        assert "a.input" not in sizes(discover(model, torch.randn(3, 5), granularity="input"))

    def test_weight(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(mlp(), torch.randn(5, 12), granularity="weight")
        assert sizes(plan) == {"0": 96, "2": 48, "4": 18}
        assert all(g.kind == "weight" and g.members[0].dim == -1 for g in plan.groups)

    def test_mapping_chooses_by_longest_prefix(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(mlp(), torch.randn(5, 12), granularity={"": "unit", "4": "weight"})
        assert {(g.name, g.kind) for g in plan.groups} == {("0", "unit"), ("4", "weight")}
        assert "4.weight is gated weight by weight" in reasons(plan)

    def test_ignore(self, assert_exact: AssertExact) -> None:
        plan = assert_exact(lenet(), IMAGE, ignore=("conv2", "fc2.weight"))
        assert sizes(plan) == {}
        assert reasons(plan).count("ignored as asked") == 3

    def test_unknown_names_are_refused_with_near_matches(self) -> None:
        with pytest.raises(StructureError, match=r"granularity: the model has no 'fc'; did you mean 'fc\d' or"):
            discover(lenet(), IMAGE, granularity={"fc": "unit"})
        with pytest.raises(
            StructureError, match=r"ignore: the model has no 'conv1.wieght'; did you mean 'conv1.weight'"
        ):
            discover(lenet(), IMAGE, ignore=["conv1.wieght"])
        with pytest.raises(StructureError, match=r"expected one of .*, found 'units'"):
            discover(lenet(), IMAGE, granularity="units")


def bottleneck(between: Callable[[Tensor], Tensor], read: int = 16, made: int = 16) -> Net:
    return Net(lambda net, x: net.b(between(net.a(x))), a=nn.Conv2d(3, made, 1), b=nn.Conv2d(read, 4, 1))


X = torch.randn(2, 3, 5, 5)

REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "softmax over channels": (lambda h: h.softmax(1), 16),
    "mean over channels": (lambda h: h - h.mean(1, keepdim=True), 16),
    "maximum over channels": (lambda h: h * h.amax(1, keepdim=True).sigmoid(), 16),
    "roll": (lambda h: h.roll(1, 1), 16),
    "roll and add": (lambda h: h + h.roll(1, 1), 16),
    "first half": (lambda h: h[:, :8], 8),
    "two literal halves": (lambda h: h[:, :8] * h[:, 8:], 8),
    "every second channel": (lambda h: h[:, ::2], 8),
    "one channel as an attention map": (lambda h: h * h[:, 0:1].sigmoid(), 16),
    "one channel by number": (lambda h: h + h[:, 3][:, None], 16),
    "division by sqrt of the channels": (lambda h: h / math.sqrt(h.shape[1]), 16),
    "maxout": (lambda h: h.view(2, 8, 2, 5, 5).amax(2), 8),
    "unit length over channels": (lambda h: F.normalize(h, dim=1), 16),
    "layer norm": (lambda h: F.layer_norm(h.movedim(1, -1), (16,)).movedim(-1, 1), 16),
    "group norm": (lambda h: F.group_norm(h, 4), 16),
    "gram matrix": (lambda h: h + torch.einsum("bchw,bdhw->bcd", h, h).sum(-1)[..., None, None], 16),
    "sorting": (lambda h: h.sort(1).values, 16),
    "branch on a value": (lambda h: h if h.sum() > 0 else -h, 16),
    "branch on the size": (lambda h: h if h.shape[1] == 16 else -h, 16),
    "a constant of literal size": (lambda h: h + torch.arange(16.0).to(h)[:, None, None], 16),
    "through numpy": (lambda h: h + torch.from_numpy(h.numpy(force=True)).to(h).mean(1, keepdim=True), 16),
    "shared memory": (lambda h: h + torch.from_numpy(h.detach().numpy())[:, :1], 16),
    "an op without a rule": (lambda h: torch.special.bessel_j0(h).cumsum(1).renorm(2, 1, 1.0), 16),
    "a product of activations": (lambda h: torch.einsum("bchw,bdhw->bchw", h, h.softmax(1)) + h @ h, 16),
    "noise of its size": (lambda h: h + torch.randn_like(h), 16),
    "unequal split": (lambda h: torch.cat(h.split([4, 12], 1)[::-1], 1), 16),
}


class TestUnsoundModels:
    @pytest.mark.parametrize("name", REFUSED)
    def test_is_refused(self, name: str, assert_exact: AssertExact) -> None:
        between, read = REFUSED[name]
        plan = assert_exact(bottleneck(between, read), X)
        assert "a" not in sizes(plan), name
        assert plan.refusals

    def test_literal_view(self, assert_exact: AssertExact) -> None:
        model = Net(lambda net, x: net.fc(net.conv(x).view(-1, 100)), conv=nn.Conv2d(3, 4, 1), fc=nn.Linear(100, 2))
        plan = assert_exact(model, X)
        assert not plan.groups
        assert "conv: the purged model fails in " in reasons(plan)
        assert "(a hard-coded size?)" in reasons(plan)

    def test_zero_initialised_consumer_hides_nothing(self, assert_exact: AssertExact) -> None:
        model = bottleneck(lambda h: h / h.shape[1])
        nn.init.zeros_(model.b.weight)
        assert not assert_exact(model, X).groups

    def test_balanced_halves_of_four_channels(self, assert_exact: AssertExact) -> None:
        def forward(net: Any, x: Tensor) -> Tensor:
            first, second = net.a(x).chunk(2, 1)
            return net.b(first) + net.c(second)

        model = Net(forward, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(2, 4, 1), c=nn.Conv2d(2, 4, 1))
        plan = assert_exact(model, X)
        assert sizes(plan) == {"a": 2}
        assert plan.groups[0].members[0].index.tolist() == [[0, 2], [1, 3]]

    def test_hidden_tie_of_two_small_layers(self, assert_exact: AssertExact) -> None:
        def forward(net: Any, x: Tensor) -> Tensor:
            p, q = net.a(x), net.b(x)
            return net.c(p) * (p.shape[1] / q.shape[1]) + net.d(q)

        parts = {"a": nn.Conv2d(3, 2, 1), "b": nn.Conv2d(3, 2, 1), "c": nn.Conv2d(2, 4, 1), "d": nn.Conv2d(2, 4, 1)}
        assert len(assert_exact(Net(forward, **parts), X).groups) < 2

    def test_outputs_in_every_form_are_frozen(self, assert_exact: AssertExact) -> None:
        model = Net(
            lambda net, x: {"hidden": [h := net.a(x)], "out": (net.b(h),)}, a=nn.Linear(4, 6), b=nn.Linear(6, 2)
        )
        plan = assert_exact(model, torch.randn(2, 4))
        assert not plan.groups
        assert "a: it is an output of the model" in reasons(plan)

    def test_unused_parameters_are_named(self, assert_exact: AssertExact) -> None:
        model = Net(lambda net, x: net.b(net.a(x)), a=nn.Linear(4, 6), b=nn.Linear(6, 2), spare=nn.Linear(3, 3))
        plan = assert_exact(model, torch.randn(2, 4))
        assert sizes(plan) == {"a": 6}
        assert "spare: not used in the forward" in reasons(plan)

    def test_dead_layer_is_not_believed(self, assert_exact: AssertExact) -> None:
        model = Net(
            lambda net, x: net.b(net.a(x)) * 0 + net.c(x), a=nn.Linear(4, 6), b=nn.Linear(6, 2), c=nn.Linear(4, 2)
        )
        plan = assert_exact(model, torch.randn(2, 4))
        assert not plan.groups
        assert "closing it changes no output" in reasons(plan)


class TestErrors:
    def test_wrong_inputs_name_the_module(self) -> None:
        with pytest.raises(
            StructureError, match=r"does not run on the example inputs: fc1 raised RuntimeError.*\(2, 1, 20, 20\)"
        ):
            discover(lenet(), torch.randn(2, 1, 20, 20))

    def test_not_a_module(self) -> None:
        with pytest.raises(StructureError, match=r"expected an nn.Module, found str"):
            discover("lenet", IMAGE)  # type: ignore[arg-type]

    def test_lazy_module(self) -> None:
        with pytest.raises(StructureError, match=r"0.weight has no shape yet"):
            discover(nn.Sequential(nn.LazyLinear(3)), IMAGE)

    def test_model_that_cannot_be_copied(self) -> None:
        model = mlp()
        model.held = (model[0].weight * 2,)  # type: ignore[assignment]
        with pytest.raises(StructureError, match="cannot be deep-copied"):
            discover(model, torch.randn(5, 12))

    def test_nothing_differentiable_to_compare(self) -> None:
        model = Net(lambda net, x: net.b(net.a(x)).argmax(-1), a=nn.Linear(4, 6), b=nn.Linear(6, 2))
        plan = discover(model, torch.randn(2, 4))
        assert not plan.groups
        assert "it returns no float tensor" in reasons(plan)

    def test_model_with_its_own_dtype_is_proved_in_float32(self) -> None:
        model = Net(lambda net, x: net.b(net.a(x.float()).float()), a=nn.Linear(4, 6), b=nn.Linear(6, 2))
        with pytest.warns(UserWarning, match=r"does not run in float64"):
            assert sizes(discover(model, torch.randn(2, 4))) == {"a": 6}

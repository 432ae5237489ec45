"""The groups that discovery finds, and the errors of what cannot be discovered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import IMAGE, Net, lenet, mlp, reasons, sizes
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.discover import discover
from lzero.errors import StructureError
from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]


def described(plan: Plan) -> dict[str, tuple[int, dict[str, tuple[int, int, str]]]]:
    """{group: (size, {tensor: (dim, width, role)})}, to compare with the truth."""
    return {g.name: (g.size, {m.tensor: (m.dim, m.width, m.role) for m in g.members}) for g in plan.groups}


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


class TestErrors:
    def test_wrong_inputs_name_the_module(self) -> None:
        with pytest.raises(
            StructureError, match=r"does not run on the example inputs: fc1 raised RuntimeError.*\(2, 1, 20, 20\)"
        ):
            discover(lenet(), torch.randn(2, 1, 20, 20))

    def test_not_a_module(self) -> None:
        with pytest.raises(StructureError, match=r"model: expected an nn.Module, found 'lenet'"):
            discover("lenet", IMAGE)  # type: ignore[arg-type]

    def test_lazy_module(self) -> None:
        with pytest.raises(StructureError, match=r"0.weight has no shape yet"):
            discover(nn.Sequential(nn.LazyLinear(3)), IMAGE)

    def test_model_that_cannot_be_copied(self) -> None:
        model = mlp()
        model.held = (number for number in ())  # type: ignore[assignment]
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

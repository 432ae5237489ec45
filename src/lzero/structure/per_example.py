"""Where gates can be drawn for each example: what reads a unit must be a layer whose input can be multiplied."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.structure.forward import map_tensors
from lzero.structure.group import GateGroup
from lzero.structure.plan import Plan
from lzero.structure.run import largest_difference, run
from lzero.structure.shrink import find_tensor

_READ_AT = {  # exact types: a subclass may do with its input what it likes
    nn.Linear: 1,
    nn.Conv1d: 1,
    nn.Conv2d: 1,
    nn.Conv3d: 1,
    nn.ConvTranspose1d: 0,
    nn.ConvTranspose2d: 0,
    nn.ConvTranspose3d: 0,
}
_WAY_OUT = "pass it to ignore=, or attach gates with per_example=False"
_TOLERANCE = 1e-4  # of the largest output, in single precision


def check_readers(model: nn.Module, groups: Sequence[GateGroup]) -> None:
    """Raise where a unit is read by anything else than the input dim of a Linear or an ungrouped convolution.

    Raises:
        StructureError: naming the tensor.
    """
    for group in groups:
        for member in group.consumers:
            tensor = find_tensor(model, member.tensor)
            for module in model.modules():
                if any(parameter is tensor for parameter in module._parameters.values()) and (
                    _READ_AT.get(type(module)) != member.dim or getattr(module, "groups", 1) != 1
                ):
                    raise StructureError(
                        f"per_example: {member.tensor} ({type(module).__name__}) reads {group.name} along dim "
                        f"{member.dim}, not through the input of a Linear or an ungrouped convolution; {_WAY_OUT}"
                    )


@torch.no_grad()
def check_products(model: nn.Module, gates: Gates, plan: Plan) -> None:
    """Raise where gating inputs is not the same as gating weights, on a copy ``model`` with ``gates`` attached.

    Raises:
        StructureError: a weight is used without its layer being called, or layers see batches of different sizes.
    """
    model.eval()
    inputs = map_tensors(plan.example_inputs, lambda tensor: tensor.detach().clone())
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(len(tensor) if tensor.dim() else 1)
        return tensor

    map_tensors(inputs, note)
    z = torch.linspace(0.1, 0.9, len(gates), device=gates.log_alpha.device)
    with gates.fixed(z):
        weights = run(model, inputs)
    with gates.fixed(z.expand(sizes[0] if sizes else 1, -1)):
        examples = run(model, inputs)
    difference, scale = largest_difference(weights, examples)
    if not difference <= _TOLERANCE * scale:
        raise StructureError(
            f"per_example: gating what the layers of {type(model).__name__} read differs from gating their weights by "
            f"{difference:.1e} (largest output {scale:.1e}): a gated weight is used outside of its layer's forward, "
            "or a batch is folded into another dim; attach gates with per_example=False"
        )

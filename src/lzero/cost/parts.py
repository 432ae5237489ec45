"""Parts of a model by module path: what a layer-wise budget holds for."""

from __future__ import annotations

from lzero.structure.plan import Plan


def covers(path: str, tensor: str) -> bool:
    """Whether the tensor called ``tensor`` lies at or below the module ``path``; ``""`` is the whole model."""
    return not path or tensor == path or tensor.startswith(f"{path}.")


def layers(plan: Plan) -> list[str]:
    """Paths of the modules whose weight a product or convolution reads and that gates can shrink, in model order."""
    gated = {member.tensor for group in plan.groups for member in group.members}
    paths = [name.rpartition(".")[0] for name in plan.shapes if name in plan.positions and name in gated]
    return list(dict.fromkeys(paths))

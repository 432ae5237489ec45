"""Systems of equations: unknowns stay whole, batches and right sides keep their units."""

from __future__ import annotations

import pytest
import torch
from tracing.rules.follow import SAME, UNITS, A, B, C, Case, D, check_every_op

SOLVE, LOWER = torch.linalg.solve_triangular, torch.eye(3) + torch.ones(3, 3).tril(-1)
EACH = LOWER.expand(4, 3, 3).clone()

CASES = {
    "right sides": Case(lambda x: SOLVE(LOWER, x, upper=False), [{2: UNITS}], shape=(2, 3, 4), dim=2),
    "unknowns": Case(lambda x: SOLVE(torch.eye(4), x, upper=False), [SAME[0]], UNITS, (2, 4, 3)),
    "from the right": Case(lambda x: SOLVE(LOWER, x, upper=False, left=False), SAME, shape=(2, 4, 3)),
    "unknowns from the right": Case(lambda x: SOLVE(torch.eye(4), x, upper=False, left=False), [{2: UNITS}], UNITS,
                                    (2, 3, 4), 2),
    "a system each": Case(lambda x, w: SOLVE(x, w[..., None, None].expand(4, 3, 2), upper=False), [{1: UNITS}], [],
                          (2, 4, 3, 3), weights={"w": (4,)}, ties=[{A, 5}, {B, 6}, {C, 7}, {D, 8}]),
    "a system each, the sides fixed": Case(lambda x: SOLVE(x, EACH, upper=False), SAME, UNITS, (2, 4, 3, 3)),
    "units of the matrix": Case(lambda x: SOLVE(x, torch.ones(4, 2), upper=False), [{}], UNITS, (4, 4)),
    "inverses": Case(lambda x: torch.linalg.inv(x + 9 * torch.eye(3)), SAME, shape=(2, 4, 3, 3)),
    "an inverse over units": Case(lambda x: torch.linalg.inv(x + 9 * torch.eye(4)), SAME, UNITS, (2, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_solving(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("solving", CASES.values())

"""The same budget with cooper's own training step, `roll`, for those who write their problem as a cooper CMP.

lzero's Cost gives the two violations: expected (differentiable, moves the gates) and deployed (moves the multiplier).
There is no Solver here: the gates are moved by the primal optimizer, in a group of their own.
"""

import cooper
import torch
from side_by_side import TRAIN, network, show
from torch import nn
from torch.utils.data import DataLoader

import lzero
from lzero.cost import Cost

DENSITY, EPOCHS = 0.10, 40
loader = DataLoader(TRAIN, batch_size=32, shuffle=True)

dense = network()
optimizer = torch.optim.Adam(dense.parameters(), lr=1e-3)
for _ in range(EPOCHS):
    for inputs, targets in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(dense(inputs), targets).backward()
        optimizer.step()

model = network()
gates = lzero.attach_gates(model, TRAIN[:2][0])
cost = Cost(gates, "params")


class Sparse(cooper.ConstrainedMinimizationProblem):
    """Cross-entropy subject to a density."""

    def __init__(self):
        super().__init__()
        self.density = cooper.Constraint(
            constraint_type=cooper.ConstraintType.INEQUALITY,
            formulation_type=cooper.formulations.Lagrangian,
            multiplier=cooper.multipliers.DenseMultiplier(num_constraints=1, dtype=torch.float64),
        )

    def compute_cmp_state(self, inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs), targets)
        state = cooper.ConstraintState(
            violation=cost.expected(gates.probability()) - DENSITY,
            strict_violation=cost.fraction(gates.open_mask()) - DENSITY,
        )
        return cooper.CMPState(loss=loss, observed_constraints={self.density: state})


problem = Sparse()
optimizer = cooper.optim.SimultaneousOptimizer(
    problem,
    primal_optimizers=torch.optim.Adam(
        [{"params": model.parameters(), "lr": 1e-3}, {"params": [gates.log_alpha], "lr": 5e-2}]
    ),
    dual_optimizers=torch.optim.SGD(problem.dual_parameters(), lr=5e-2, maximize=True),
)
for _ in range(EPOCHS):
    for inputs, targets in loader:
        optimizer.roll(compute_cmp_state_kwargs={"inputs": inputs, "targets": targets})
result = lzero.purge(model, constraints=[lzero.Constraint(DENSITY)])

show("cooper_roll", dense, result)

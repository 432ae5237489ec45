"""The same budget with cooper's own training step, `roll`, for those who write their problem as a cooper CMP.

lzero's Cost gives the two violations: expected (differentiable, moves the gates) and deployed (moves the multiplier).
There is no Solver here: the gates are moved by the primal optimizer, in a group of their own.
"""

import cooper
import torch
from sklearn.datasets import load_digits
from torch import nn

import lzero
from lzero.cost import Cost

torch.manual_seed(0)
digits = load_digits()
x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
gates = lzero.attach_gates(model, x[:2])
cost = Cost(gates, "params")


class Sparse(cooper.ConstrainedMinimizationProblem):
    """Cross-entropy subject to a density of one tenth."""

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
            violation=cost.expected(gates.probability()) - 0.10,
            strict_violation=cost.fraction(gates.open_mask()) - 0.10,
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
for _ in range(40):
    for inputs, targets in loader:
        optimizer.roll(compute_cmp_state_kwargs={"inputs": inputs, "targets": targets})

result = lzero.purge(model, constraints=[lzero.Constraint(0.10)])
print(result.certificate, result.model, sep="\n")

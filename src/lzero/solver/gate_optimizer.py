"""The optimizer that moves the gates, and its state as flat tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lzero._torch import fused_adam
from lzero.checks import real, shown
from lzero.errors import SolverError
from lzero.gates.ledger import OPTIMIZER
from lzero.solver.schedule import step_count

GATE_LR_MIN, GATE_LR_MAX, GATE_TRAVEL = 2e-2, 0.2, 100.0


def default_gate_lr(total_steps: int) -> float:
    """Rate of Adam on the gates: 100 / total_steps, but at least 0.02 and at most 0.2.

    Adam moves a gate by at most about its rate a step, and log_alpha has to travel from its start (P = 0.97, 3.5 above
    the threshold) to below it, and back where the loss wants the gate after all, within the training.
    ``figures/gate_rate.py`` measures it.
    """
    return min(max(GATE_LR_MIN, GATE_TRAVEL / total_steps), GATE_LR_MAX)


def checked_gate_lr(gate_lr: object, total_steps: object) -> float:
    """``gate_lr``, or the default for a training of so many steps; the slowest where its length is None.

    Raises:
        SolverError: no positive number, or no number of steps.
    """
    default = GATE_LR_MIN if total_steps is None else default_gate_lr(step_count("total_steps", total_steps))
    rate = default if gate_lr is None else gate_lr
    return real("gate_lr", rate, above=0, expected="a positive number", error=SolverError)


class GateOptimizer:
    """Adam on ``log_alpha``, or an optimizer of the user's that holds it and nothing else.

    Args:
        log_alpha: the gates' parameters.
        lr: rate of Adam, where ``optimizer`` is None.
        optimizer: any torch optimizer over ``[log_alpha]``.

    Raises:
        SolverError: what is no optimizer, one that needs a closure, or one that holds anything else.
    """

    def __init__(self, log_alpha: Tensor, lr: float, optimizer: torch.optim.Optimizer | None = None) -> None:
        self._log_alpha = log_alpha
        self.own = optimizer is None
        self._optimizer = _adam(log_alpha, lr) if optimizer is None else _checked(optimizer, log_alpha)

    @property
    def kind(self) -> str:
        """The name of the optimizer's class: what its state fits."""
        return type(self._optimizer).__name__

    def step(self, skip: Tensor | None = None) -> None:
        """Move the gates by their gradient; where ``skip``, float32 [], is 1, nothing changes (own Adam alone)."""
        if skip is None or not self.own:
            self._optimizer.step()
        else:
            self._fused(skip)

    def _fused(self, skip: Tensor) -> None:
        """What torch.optim.Adam does with ``found_inf``, without its way through Python."""
        options, state = self._optimizer.param_groups[0], self._optimizer.state[self._log_alpha]
        steps = state["step"].add_(1)
        fused_adam(
            [self._log_alpha],
            [self._log_alpha.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [steps],
            lr=options["lr"],
            beta1=options["betas"][0],
            beta2=options["betas"][1],
            weight_decay=options["weight_decay"],
            eps=options["eps"],
            amsgrad=False,
            maximize=False,
            found_inf=skip,
        )
        steps.sub_(skip)

    @property
    def skips_on_device(self) -> bool:
        """Whether :meth:`step` can leave everything as it is by a flag on the device, without asking the host."""
        return self.own and bool(self._optimizer.defaults.get("fused"))

    def tensors(self) -> dict[str, Tensor]:
        """State and rate, by name; numbers become tensors of one element."""
        state = self._optimizer.state.get(self._log_alpha, {})
        made = {f"{OPTIMIZER}{name}": _tensor(value) for name, value in state.items() if _tensor(value) is not None}
        rate = _tensor(self._optimizer.param_groups[0]["lr"])
        return {**made, "optimizer_lr": rate}  # type: ignore[dict-item]

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`tensors` returned."""
        optimizer, log_alpha = self._optimizer, self._log_alpha
        saved = {name.removeprefix(OPTIMIZER): t for name, t in tensors.items() if name.startswith(OPTIMIZER)}
        state: dict[str, Any] = {}
        for name, value in saved.items():
            moved = value.detach().to(log_alpha.device) if value.shape == log_alpha.shape else value.detach()
            state[name] = moved.clone()
        groups = optimizer.state_dict()["param_groups"]
        if not isinstance(groups[0]["lr"], Tensor):
            groups[0]["lr"] = float(tensors["optimizer_lr"])
        optimizer.load_state_dict({"state": {0: state} if state else {}, "param_groups": groups})

    def narrow(self, where: Tensor) -> None:
        """Keep the state of the gates ``where``, long, which ``log_alpha`` has become already."""
        state = self._optimizer.state.get(self._log_alpha, {})
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim():
                state[name] = value[..., where.to(value.device)].clone()

    def to(self, device: torch.device) -> None:
        """Move the state to ``device``, in place, and cast it, as the gates have been."""
        state = self._optimizer.state.get(self._log_alpha, {})
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == self._log_alpha.shape:
                state[name] = value.to(self._log_alpha)
            elif isinstance(value, Tensor) and self.skips_on_device:
                state[name] = value.to(device)


def _adam(log_alpha: Tensor, lr: float) -> torch.optim.Optimizer:
    """Adam with its state made at once: what loads a checkpoint in place finds every tensor there."""
    try:  # fused: one kernel, which a flag on the device can tell to change nothing
        optimizer = torch.optim.Adam([log_alpha], lr=lr, fused=True)
    except RuntimeError:  # no such kernel on this device
        optimizer = torch.optim.Adam([log_alpha], lr=lr)
    device = log_alpha.device if optimizer.defaults["fused"] else torch.device("cpu")
    moments = {name: torch.zeros_like(log_alpha, requires_grad=False) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[log_alpha] = {"step": torch.zeros((), dtype=torch.float32, device=device), **moments}
    return optimizer


def _checked(optimizer: object, log_alpha: Tensor) -> torch.optim.Optimizer:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise SolverError(
            "optimizer: expected a torch optimizer of the gates, such as torch.optim.Adam([gates.log_alpha], lr=0.02), "
            f"or None, found {shown(optimizer)}"
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise SolverError("optimizer: LBFGS runs the loss many times a step, each with other gates; pass Adam or SGD")
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if len(held) != 1 or held[0] is not log_alpha:
        raise SolverError(
            "optimizer: expected one over [gates.log_alpha] alone; weights belong to the optimizer of your loop, found "
            f"one over {len(held)} tensors"
            + ("" if any(p is log_alpha for p in held) else ", log_alpha not among them")
        )
    return optimizer


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, bool | int):
        return torch.tensor([int(value)])
    if isinstance(value, float):
        return torch.tensor([value], dtype=torch.float64)
    return None

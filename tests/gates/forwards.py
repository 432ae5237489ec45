"""Gated models of every case, and their forwards as one would write them by hand."""

import torch
from torch import nn
from torch.nn import functional as F

from lzero.attach import attach_gates


def gated(case, dtype=torch.float32, **options):
    torch.manual_seed(0)
    model, plan = case()
    model.to(dtype)
    return model, attach_gates(model, plan, **options), plan.example_inputs.to(dtype)


def drawn(gates, seed):
    """z, differentiable in log_alpha, of the forward that follows ``torch.manual_seed(seed)``."""
    torch.manual_seed(seed)
    log_alpha, h = gates.log_alpha, gates.estimator
    noise = torch.rand_like(log_alpha).logit()
    s = torch.sigmoid((noise + log_alpha) / h.temperature)
    return gates.split((s * (h.zeta - h.gamma) + h.gamma).clamp(0, 1))


def plain(model, name):
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    return module.parametrizations[leaf].original if hasattr(module, "parametrizations") else getattr(module, leaf)


def by_hand(name, model, z, x):
    """The gated forward of a case, with gates written into it."""
    w = {n: plain(model, f"{n}.weight") for n, m in model.named_children() if isinstance(m, (nn.Linear, nn.Conv2d))}
    b = {n: m.bias for n, m in model.named_children() if isinstance(m, (nn.Linear, nn.Conv2d))}
    if name == "mlp":
        x = F.softplus(F.linear(x * z["fc1.input"], w["fc1"], b["fc1"]))
        x = F.softplus(F.linear(x * z["fc1"], w["fc2"], b["fc2"]))
        return F.linear(x * z["fc2"], w["fc3"], b["fc3"])
    if name == "lenet":
        x = F.max_pool2d(F.softplus(F.conv2d(x, w["conv1"], b["conv1"])), 2)
        x = F.softplus(F.conv2d(x * z["conv1"][:, None, None], w["conv2"], b["conv2"], padding=1))
        x = (x * z["conv2"][:, None, None]).flatten(1) * z["fc1.input"]
        return F.linear(F.softplus(F.linear(x, w["fc1"], b["fc1"])) * z["fc1"], w["fc2"], b["fc2"])
    if name == "reused":
        x = F.softplus(F.linear(x, w["first"], b["first"]))
        for _ in range(2):
            x = F.softplus(F.linear(x * z["square"], w["square"], b["square"]))
        return F.linear(x * z["square"], w["last"], b["last"])
    if name == "tied":
        x = F.softplus(F.linear(x, w["first"], b["first"]))
        x = F.softplus(F.linear(x * z["one"], w["one"], b["one"]))
        x = F.softplus(F.linear(x * z["one"], w["one"], b["two"]))
        return F.linear(x * z["one"], w["last"], b["last"])
    if name == "batch_norm":
        x = F.softplus(model.bn1(model.conv1(x)))
        return model.fc(F.conv2d(x * z["conv1"][:, None, None], w["conv2"], b["conv2"]).mean((2, 3)))
    x = F.softplus(F.linear(x, w["fc1"] * z["fc1"].view_as(w["fc1"]), b["fc1"]))
    return model.fc3(F.softplus(F.linear(x, w["fc2"] * z["fc2"].view_as(w["fc2"]), b["fc2"])))


def z_of(gates):
    """The gates of the last forward, [G] or [B, G]."""
    return gates.current(None if gates.drawing.last is None else gates.drawing.last.examples).z


def gradient_under_autocast(model, gates, x, *, enabled):
    """The gradient of the gates under autocast to bfloat16, or without it, with the same draw."""
    gates.log_alpha.grad = None
    torch.manual_seed(4)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        loss = model(x).float().pow(2).sum()
    loss.backward()
    return gates.log_alpha.grad

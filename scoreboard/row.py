"""One type of model, measured: `python scoreboard/row.py transformers bert` prints its row as JSON.

What is compared: a float64 copy of the tiny model is gated by the plan, its gates are closed at random (about a third
closed, one at least open in every group, the others fractional), and it is purged without settling. Gated and purged
model then run in eval mode on inputs that discovery has not seen: another batch size and length, other values. All
tensors of the output are compared but the cache of keys and values, once or more a granularity, by
`lzero.proving.compare`. Both forwards run within `lzero.host.promoted.Promoted`: their casts to float32 stay float64,
so that what differs is no rounding of theirs. Models that do not run so are compared in float32, and `dtype` says it.

A forward that chooses (an argmax, a threshold) jumps where two values tie. Where the gated model itself moves at least
half as far when its weights are moved by rounding alone, the difference says nothing of the plan: such inputs are left
out, `fresh` counts them, and one at least always stays.
"""

import copy
import json
import math
import sys
import time
import warnings
from dataclasses import asdict, dataclass

import torch
from source import NotBuilt, line, parameters, source

import lzero
from lzero.host.inputs import ExampleInputs
from lzero.host.promoted import Promoted
from lzero.host.run import ForwardError, run
from lzero.proving.compare import TOLERANCES, comparable, difference

ALL = 99.9
"""Percent of the parameters."""

JITTERS = 16
"""How often weights are moved by rounding."""


@dataclass
class Row:
    """A type of model; percentages are of its parameters.

    Attributes:
        type, model: the type, and the class or name of what was measured.
        parameters: of the small model.
        seconds, groups, units, reach, floor: of `discover`: CPU seconds, what it proves, the share that gates can
            remove, and the share that is left where every group has one unit.
        width_...: the same with the second granularity of the source, which has the width of streams; empty where that
            is all that it has, and units reach `ALL` already.
        worst: the largest relative difference on fresh inputs.
        dtype, fresh: what was compared in, and what was new in the inputs.
        state: exact, refused, wrong, crash, time, or not built.
        reason: of every state but exact.
    """

    type: str
    model: str = ""
    parameters: int | None = None
    seconds: float | None = None
    groups: int | None = None
    units: int | None = None
    reach: float | None = None
    floor: float | None = None
    width_seconds: float | None = None
    width_groups: int | None = None
    width_units: int | None = None
    width_reach: float | None = None
    width_floor: float | None = None
    worst: float | None = None
    dtype: str = ""
    fresh: str = ""
    state: str = ""
    reason: str = ""


class Wrong(Exception):
    """A plan was proved and does not hold."""


def measure(kind, tell=lambda row: None, of="transformers"):
    """The row of a type `of` a source. `tell` gets it as far as it is known, whenever more is, lest this is stopped."""
    row = Row(kind, state="not built", reason="building")
    tell(row)
    try:
        found = source(of)
        model, form, row.model = found.build(kind, _runs)
    except Exception as error:
        row.reason = line(error)
        return row
    row.parameters = parameters(model)
    row.state, row.reason = "time", "unit"
    tell(row)
    return measured(row, model, form, tell, found)


def measured(row, model, form, tell=lambda row: None, of=None):
    """The row of a model that runs on inputs of this form; `of` is its source."""
    of = source("transformers") if of is None else of
    example = of.inputs(model, form, *of.example, 0)
    try:
        fresh = _fresh(row, model, form, of)
        for granularity in ("unit", of.more):
            row.state, row.reason = "time", granularity
            tell(row)
            plan = _discovered(row, model, example, granularity)
            tell(row)
            _compared(row, model, plan, fresh)
            if granularity == "unit" and of.more == "width" and row.reach >= ALL:
                break
        row.state, row.reason = ("exact", "") if row.width_groups or row.groups else ("refused", _why(plan))
    except NotBuilt as error:
        row.state, row.reason, row.model = "not built", str(error), ""
    except Wrong as error:
        row.state, row.reason = "wrong", f"{granularity}: {error}"[:300]
    except lzero.LzeroError as error:
        row.state, row.reason = "refused", f"{granularity}: {error}"[:300]
    except Exception as error:
        row.state, row.reason = "crash", f"{row.reason}: {type(error).__name__}: {error}"[:300]
    return row


def _runs(model, inputs):
    """Raise where the model does not run on these inputs."""
    if not comparable(run(model, inputs)):
        raise NotBuilt("its outputs are NaN, or no floats")


def _why(plan):
    """Of all that is refused the largest, and why."""
    found = max(plan.refusals, key=lambda refusal: refusal.size, default=None)
    return f"{found.name}: {found.reason}"[:300] if found else "it has nothing that can be gated"


def _fresh(row, model, form, of):
    """Inputs that discovery does not see, a list, in the dtype in which all is compared."""
    for dtype in (torch.float64, torch.float32):
        for batch, size, what in of.fresh:
            drawn = [of.inputs(model, form, batch, size, seed) for seed in range(5, 5 + of.draws)]
            drawn = [ExampleInputs.of(one).to(dtype=dtype).value for one in drawn]
            try:
                with _precision(dtype):
                    for one in drawn:
                        _runs(copy.deepcopy(model).to(dtype), one)
            except Exception:
                continue
            row.dtype, row.fresh = str(dtype).removeprefix("torch."), what
            return drawn
    raise NotBuilt("the model itself runs on no fresh inputs")


def _precision(dtype):
    return Promoted() if dtype is torch.float64 else torch.no_grad()


def _discovered(row, model, example, granularity):
    start = time.process_time()
    plan = lzero.discover(model, example, granularity=granularity)
    found = {
        "seconds": round(time.process_time() - start, 2),
        "groups": len(plan),
        "units": plan.size,
        "reach": round(100 * plan.reachable / plan.parameters, 1),
        "floor": round(100 * plan.floor(), 1),
    }
    for name, value in found.items():
        setattr(row, name if granularity == "unit" else f"width_{name}", value)
    return plan


def _compared(row, model, plan, fresh):
    """Gate, close and purge, and note the largest difference."""
    if not len(plan):
        return
    dtype = getattr(torch, row.dtype)
    gated = copy.deepcopy(model).to(dtype)
    gates = lzero.attach_gates(gated, plan)
    ties = 0
    for seed, inputs in enumerate(fresh):
        close(gates, seed)
        try:
            small = lzero.purge(gated, settle=False, verify=False).model
            with _precision(dtype):
                found = difference(run(copy.deepcopy(gated), inputs), run(copy.deepcopy(small), inputs)).relative
        except (lzero.LzeroError, ForwardError) as error:
            raise Wrong(f"proved, then {type(error).__name__}: {error}") from error
        if not found <= TOLERANCES[dtype] and ties + 1 < len(fresh) and found <= 2 * _jump(gated, inputs, dtype):
            ties += 1
            row.fresh = f"{row.fresh.partition(';')[0]}; {ties} of {len(fresh)} at a tie"
            continue
        row.worst = max(row.worst or 0.0, found)
        if not found <= TOLERANCES[dtype]:
            raise Wrong(f"differs by {found:.1e}")


def _jump(gated, inputs, dtype):
    """The largest difference that rounding of its weights makes in the gated model itself, if it is finite."""
    made, largest = torch.Generator().manual_seed(0), 0.0
    for _ in range(JITTERS):
        moved = copy.deepcopy(gated)
        with torch.no_grad():
            for weight in moved.parameters():
                if weight.dim() > 1 and weight.is_floating_point():
                    drawn = torch.randn(weight.shape, generator=made, dtype=weight.dtype)
                    weight.mul_(1 + 32 * torch.finfo(weight.dtype).eps * drawn)
        with _precision(dtype):
            found = difference(run(copy.deepcopy(gated), inputs), run(moved, inputs)).relative
        largest = max(largest, found) if math.isfinite(found) else largest
    return largest


def close(gates, seed):
    """Close gates at random, but one at least of every group."""
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        drawn = torch.randn(len(gates), generator=made) * 3 - 1.5
        for part in gates.split(drawn).values():
            part[torch.randint(len(part), (), generator=made)] = 1.0
        gates.log_alpha.copy_(drawn)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for kind in sys.argv[2:]:
        print(json.dumps(asdict(measure(kind, of=sys.argv[1]))), flush=True)

"""Where tensors without units of their own come from: plain numbers of the forward, or a parameter alone."""

from __future__ import annotations

from lzero.tracing.guards import users_line
from lzero.tracing.op_call import OpCall
from lzero.tracing.tensor_table import TensorTable


def note_origin(call: OpCall, table: TensorTable) -> None:
    """Note where an op makes numbers of nothing that has units, or of a parameter alone, or goes on with such."""
    others = [tensor for tensor in call.inputs if not table.made(tensor)]
    names = [table.computed(tensor) for tensor in others]
    if names and all(names):
        for out in call.outputs:
            table.note_computed(out, names[0])
    if any(table.find(tensor) is not None for tensor in others):
        return
    origin = next((made for tensor in call.inputs if (made := table.made(tensor))), "")
    if not origin and (not call.inputs or call.op == "aten.lift_fresh"):
        origin = f"{call.op.removeprefix('aten.')} at {users_line()}"
    for out in call.outputs if origin else ():
        table.note_made(out, origin)

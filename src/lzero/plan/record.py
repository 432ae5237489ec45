"""A plan as plain data, and back: lists, dicts, numbers, words and tensors, every one of them checked on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from lzero.checks import choice, real, shown, whole
from lzero.errors import StructureError
from lzero.plan.block import Block, Closed
from lzero.plan.follower import Follower
from lzero.plan.granularity import granularities
from lzero.plan.group import GateGroup, Kind, Member, Role
from lzero.plan.norm_record import read_norm, record_norm
from lzero.plan.positions import read_positions
from lzero.plan.refusal import Refusal
from lzero.plan.router import Router
from lzero.plan.widths import checked_round_to

_SCALARS = (type(None), bool, int, float, complex, str)
_DEEPEST = 32
_WAY_OUT = (
    "give discover plain tuples, lists and dicts of tensors, numbers and words, or save "
    "dataclasses.replace(plan, example_inputs=None), which purges with verify=False"
)


def record(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The ``fields`` of a plan as plain data.

    Raises:
        StructureError: example inputs that are no nested tuples, lists and dicts of tensors and plain numbers.
    """
    inputs = fields["example_inputs"]
    if isinstance(inputs, Mapping):  # keyword arguments, in whatever a tokenizer returns them
        inputs = dict(inputs)
    return {
        "groups": [_group(group) for group in fields["groups"]],
        "refusals": [[r.name, int(r.size), list(r.tensors), r.reason, r.advice] for r in fields["refusals"]],
        "shapes": {name: [int(n) for n in shape] for name, shape in fields["shapes"].items()},
        "positions": {n: int(v) if v == int(v) else float(v) for n, v in fields["positions"].items()},
        "granularity": dict(fields["granularity"]),
        "example_inputs": _nested(inputs, "example_inputs", 0, _stored),
        **({"states": list(fields["states"])} if fields["states"] else {}),
        **({"round_to": fields["round_to"]} if fields["round_to"] != 1 else {}),
    }


def unrecorded(content: object) -> dict[str, Any]:
    """The fields of the plan that :func:`record` made ``content`` of.

    Raises:
        StructureError: anything else, naming the entry.
    """
    fields = _table("the plan", content)
    names = ("groups", "refusals", "shapes", "positions", "granularity", "example_inputs")
    if set(fields) - {"states", "round_to"} != set(names):
        raise StructureError(f"the plan: expected the entries {', '.join(names)}, found {shown(sorted(fields))}")
    shapes = {name: _shape(name, sizes) for name, sizes in _table("shapes", fields["shapes"]).items()}
    groups = tuple(
        _read_group(f"groups[{i}]", item, shapes) for i, item in enumerate(_list("groups", fields["groups"]))
    )
    if len({group.name for group in groups}) != len(groups):
        raise StructureError("groups: expected names that differ, found one twice")
    least = {"least": 0.0, "expected": "a number >= 0", "error": StructureError}
    positions = _table("positions", fields["positions"]).items()
    asked = _table("granularity", fields["granularity"]).items()
    return {
        "groups": groups,
        "refusals": tuple(
            _read_refusal(f"refusals[{i}]", r) for i, r in enumerate(_list("refusals", fields["refusals"]))
        ),
        "shapes": shapes,
        "positions": {name: _number(f"positions[{name!r}]", value, least) for name, value in positions},
        "granularity": {
            path: choice(f"granularity[{path!r}]", value, granularities(), error=StructureError)
            for path, value in asked
        },
        "example_inputs": _nested(fields["example_inputs"], "example_inputs", 0, lambda tensor: tensor),
        "states": tuple(_word("states", name) for name in _list("states", fields.get("states", []))),
        "round_to": checked_round_to(fields.get("round_to", 1)),
    }


def _group(group: GateGroup) -> list[Any]:
    members = [[m.tensor, int(m.dim), m.index.detach().cpu().clone(), m.role] for m in group.members]
    numbers = [[n.path, n.name, int(n.place), int(n.each)] for n in group.numbers]
    norms = [record_norm(norm) for norm in group.norms]
    blocks = [[block.path, block.closed, list(block.tensors), int(block.returns)] for block in group.blocks]
    router = None if group.router is None else _router(group.router)
    return [group.name, int(group.size), group.kind, members, numbers, norms, blocks, router]


def _router(router: Router) -> list[Any]:
    return [router.path, router.tensor, [list(chosen) for chosen in router.chosen], bool(router.sparse)]


def _read_group(place: str, item: object, shapes: Mapping[str, tuple[int, ...]]) -> GateGroup:
    name, size, kind, members, numbers, norms, blocks, router = _row(place, item, 8)
    count = whole(f"{place} size", size, least=1, expected="a whole number >= 1", error=StructureError)
    rows, modules = _list(f"{place} members", members), _list(f"{place} blocks", blocks)
    if len(modules) != (count if kind == "depth" or (kind == "expert" and modules) else 0):
        raise StructureError(f"{place} blocks: expected a module for each gate of depth, found {len(modules)}")
    if (router is None) == (kind == "expert"):
        raise StructureError(f"{place} router: expected one where there are experts, found {shown(router)}")
    return GateGroup(
        _word(f"{place} name", name),
        count,
        choice(f"{place} kind", kind, get_args(Kind), error=StructureError),  # type: ignore[arg-type]
        tuple(_read_member(f"{place} members[{i}]", row, count, shapes) for i, row in enumerate(rows)),
        tuple(_read_number(f"{place} numbers[{i}]", row) for i, row in enumerate(_list(f"{place} numbers", numbers))),
        tuple(read_norm(f"{place} norms[{i}]", row, count) for i, row in enumerate(_list(f"{place} norms", norms))),
        tuple(_read_block(f"{place} blocks[{i}]", row) for i, row in enumerate(modules)),
        None if router is None else _read_router(f"{place} router", router),
    )


def _read_router(where: str, item: object) -> Router:
    path, tensor, chosen, sparse = _row(where, item, 4)
    if type(sparse) is not bool:
        raise StructureError(f"{where} sparse: expected True or False, found {shown(sparse)}")
    pairs = [tuple(_row(f"{where} chosen", pair, 2)) for pair in _list(f"{where} chosen", chosen)]
    return Router(
        _word(f"{where} path", path),
        _word(f"{where} tensor", tensor),
        tuple((_word(f"{where} chosen", at), _word(f"{where} chosen", name)) for at, name in pairs),
        sparse,
    )


def _read_block(where: str, item: object) -> Block:
    path, closed, tensors, returns = _row(where, item, 4)
    return Block(
        _word(f"{where} path", path),
        choice(f"{where} closed", closed, get_args(Closed), error=StructureError),  # type: ignore[arg-type]
        tuple(_word(f"{where} tensors", tensor) for tensor in _list(f"{where} tensors", tensors)),
        whole(f"{where} returns", returns, least=0, expected="a whole number >= 0", error=StructureError),
    )


def _read_number(where: str, item: object) -> Follower:
    path, name, place, each = _row(where, item, 4)
    return Follower(
        _word(f"{where} path", path),
        _word(f"{where} name", name),
        whole(f"{where} place", place, least=-1, expected="a whole number >= -1", error=StructureError),
        whole(f"{where} each", each, least=1, expected="a whole number >= 1", error=StructureError),
    )


def _read_member(place: str, item: object, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Member:
    tensor, dim, index, role = _row(place, item, 4)
    name = _word(f"{place} tensor", tensor)
    shape = shapes.get(name)  # None for a buffer, whose shape a plan does not know
    most = 63 if shape is None else len(shape) - 1
    dim = whole(f"{place} dim", dim, least=-1, most=most, expected=f"a dim from -1 to {most}", error=StructureError)
    length = 2**62 if shape is None else math.prod(shape) if dim < 0 else shape[dim]
    positions = read_positions(f"{place} index", index, size, length)
    return Member(name, dim, positions, choice(f"{place} role", role, get_args(Role), error=StructureError))  # type: ignore[arg-type]


def _read_refusal(place: str, item: object) -> Refusal:
    name, size, tensors, reason, advice = _row(place, item, 5)
    return Refusal(
        _word(f"{place} name", name),
        whole(f"{place} size", size, least=0, expected="a whole number >= 0", error=StructureError),
        tuple(_word(f"{place} tensors", tensor) for tensor in _list(f"{place} tensors", tensors)),
        _word(f"{place} reason", reason),
        _word(f"{place} advice", advice),
    )


def _stored(tensor: Tensor) -> Tensor:
    """A plain copy on the CPU: a plan is read where there may be no other device."""
    kept = tensor.detach().cpu().clone()
    return kept.requires_grad_(tensor.requires_grad) if kept.is_floating_point() or kept.is_complex() else kept


def _nested(value: Any, place: str, depth: int, keep: Callable[[Tensor], Tensor]) -> Any:
    """``value`` of plain containers and plain scalars, with every tensor passed through ``keep``."""
    if depth > _DEEPEST:
        raise StructureError(f"{place}: expected at most {_DEEPEST} containers in each other; {_WAY_OUT}")
    if type(value) in _SCALARS:
        return value
    if type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided and not _unplain(value):
        return keep(value)
    if type(value) in (tuple, list):
        return type(value)(_nested(item, f"{place}[{i}]", depth + 1, keep) for i, item in enumerate(value))
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        return {key: _nested(item, f"{place}[{key!r}]", depth + 1, keep) for key, item in value.items()}
    kind = f"a {str(value.layout).removeprefix('torch.')} one" if type(value) is Tensor else ""
    raise StructureError(
        f"{place}: cannot be stored, it is {kind or shown(value)} of type {type(value).__name__}; {_WAY_OUT}"
    )


def _unplain(tensor: Tensor) -> bool:
    return tensor.is_meta or tensor.is_quantized or tensor.is_nested or nn.parameter.is_lazy(tensor)


def _table(place: str, value: object) -> dict[str, Any]:
    if type(value) is dict and all(type(key) is str for key in value):
        return value
    raise StructureError(f"{place}: expected a dict from names, found {shown(value)}")


def _list(place: str, value: object) -> list[Any]:
    if type(value) is list:
        return value
    raise StructureError(f"{place}: expected a list, found {shown(value)}")


def _row(place: str, value: object, length: int) -> Iterator[Any]:
    row = _list(place, value)
    if len(row) != length:
        raise StructureError(f"{place}: expected {length} entries, found {len(row)}")
    return iter(row)


def _word(place: str, value: object) -> str:
    if type(value) is str:
        return value
    raise StructureError(f"{place}: expected a word, found {shown(value)}")


def _shape(name: str, value: object) -> tuple[int, ...]:
    said = {"least": 0, "expected": "sizes >= 0", "error": StructureError}
    return tuple(whole(f"shapes[{name!r}]", size, **said) for size in _list(f"shapes[{name!r}]", value))  # type: ignore[arg-type]


def _number(place: str, value: object, said: Mapping[str, Any]) -> float:
    number = real(place, value, **said)
    return int(value) if type(value) is int else number

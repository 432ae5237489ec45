"""Random plans whose tensors are products of many axes: gated dims, meetings, owned features, and blocks."""

from __future__ import annotations

from hypothesis import strategies as st
from plans import column

from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan

_TENSORS = ("head.w", *(f"net.{block}.{leaf}" for block in (0, 1) for leaf in ("attn.w", "mlp.w", "norm")))

_DEPTHS = [(), ("net",), ("net", "branches"), ("branches", "net"), ("branches",), ("inner", "net")]


@st.composite
def many_axes(draw):
    """Tensors of up to four dims; at most nine gates of units, features, blocks and branches of blocks."""
    sizes = draw(st.lists(st.integers(1, 2), min_size=2, max_size=3))
    used = {}  # tensor -> how often each group stands on it
    members = {number: [] for number in range(len(sizes))}
    shapes, positions, columns = {}, {}, []
    for name in draw(st.lists(st.sampled_from(_TENSORS), min_size=1, max_size=4, unique=True)):
        shape = []
        for dim in range(draw(st.integers(0, 4))):
            length = draw(st.integers(0, 1))
            for number in draw(st.lists(st.sampled_from(range(len(sizes))), max_size=2, unique=True)):
                if used.get((name, number), 0) < 2:
                    used[name, number] = used.get((name, number), 0) + 1
                    width = draw(st.integers(1, 2))
                    index = column(length, length + sizes[number] * width).view(sizes[number], width)
                    members[number].append(Member(name, dim, index, "consumer" if dim == 1 else "producer"))
                    length += sizes[number] * width
                    columns += [(name, number, index)] if dim == 1 else []
            shape.append(max(length, 1))
        shapes[name], positions[name] = tuple(shape), draw(st.integers(0, 3))
    groups = [GateGroup(f"g{number}", size, "unit", tuple(members[number])) for number, size in enumerate(sizes)]
    if columns and draw(st.booleans()):  # a gate for each feature of the channels of one group
        name, number, index = draw(st.sampled_from(columns))
        if sum(sizes) + index.numel() <= 7:
            member = Member(name, 1, index.reshape(-1, 1), "consumer")
            groups.insert(0, GateGroup("features", index.numel(), "input", (member,)))
    for word in draw(st.sampled_from(_DEPTHS)):
        groups.insert(draw(st.integers(0, len(groups))), blocks_of(word, list(shapes)))
    return Plan(tuple(groups), (), shapes, positions)


def blocks_of(word, names):
    """Both blocks of a net, or in each of them its attention: a branch, or a block of its own."""
    made = []
    for number in (0, 1):
        path = f"net.{number}" if word == "net" else f"net.{number}.attn"
        inside = tuple(name for name in names if name.startswith(f"{path}."))
        made.append(Block(path, "zero" if word == "branches" else "identity", inside))
    return GateGroup(word, 2, "depth", (), blocks=tuple(made))

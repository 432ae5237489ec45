"""Which gates a proof closes: unevenly, every number of few, and no two groups always alike."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from proving.chains import hidden

from lzero.gates.gates import Gates
from lzero.plan.block import Block, Closed
from lzero.plan.group import GateGroup
from lzero.plan.plan import Plan
from lzero.proving.patterns import closures, needed


class TestClosures:
    def test_every_group_is_closed_unevenly_and_never_whole(self) -> None:
        groups = [hidden("a", "b", 8), hidden("b", "c", 30), hidden("c", "d", 2)]
        patterns = list(closures(groups, torch.Generator().manual_seed(0)))
        for group in groups:
            opens = [int((pattern[group.name] > 0).sum()) for pattern in patterns]
            assert all(1 <= kept < group.size for kept in opens[:3])
            if group.size > 2:
                assert {kept % 2 for kept in opens[:3]} == {0, 1}
            z = torch.cat([pattern[group.name] for pattern in patterns])
            assert z[z > 0].min() > 0.1 and z.max() < 1 and z[z > 0].unique().numel() > 1

    def test_every_group_is_left_with_one_unit_and_a_small_one_with_every_number(self) -> None:
        groups = [hidden(f"g{size}", "r", size) for size in (*range(2, 12), 50)]
        patterns = list(closures(groups, torch.Generator().manual_seed(0)))
        for group in groups:
            opens = {int((pattern[group.name] > 0).sum()) for pattern in patterns}
            assert 1 in opens
            assert group.size >= 8 or opens >= set(range(1, group.size))

    def test_no_two_small_groups_always_lose_alike(self) -> None:
        groups = [hidden(f"g{i}", "r", 2) for i in range(9)]
        patterns = list(closures(groups, torch.Generator().manual_seed(0)))
        lost = {tuple(int((p[g.name] == 0).sum()) for p in patterns) for g in groups}
        assert len(lost) == len(groups)


sizes = st.lists(st.integers(2, 20), min_size=1, max_size=12)


@given(sizes, st.integers(0, 2**31))
def test_patterns_of_any_groups(sizes: list[int], seed: int) -> None:
    groups = [hidden(f"g{number}", "r", size) for number, size in enumerate(sizes)]
    patterns = list(closures(groups, torch.Generator().manual_seed(seed)))
    small = [group for group in groups if group.size < 8]
    assert len(patterns) == max(3, *(g.size - 1 for g in small), 0) + len(small).bit_length()
    kept = {group.name: [int((pattern[group.name] > 0).sum()) for pattern in patterns] for group in groups}
    for group in groups:
        assert all(z[group.name].shape == (group.size,) and z[group.name].dtype == torch.float64 for z in patterns)
        if group.size < 8:
            assert {n for n in kept[group.name] if n < group.size} == set(range(1, group.size))
        else:
            assert all(1 <= n < group.size for n in kept[group.name])
            assert 1 in kept[group.name][:3] and {n % 2 for n in kept[group.name][:3]} == {0, 1}
    lost = [tuple(group.size - n for n in kept[group.name]) for group in small]
    assert len(set(lost)) == len(small)


@given(sizes, st.integers(0, 2**31))
def test_patterns_follow_from_the_generator_alone(sizes: list[int], seed: int) -> None:
    groups = [hidden(f"g{number}", "r", size) for number, size in enumerate(sizes)]
    one, two = (list(closures(groups, torch.Generator().manual_seed(seed))) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_without_groups_there_is_nothing_to_close() -> None:
    assert all(pattern == {} for pattern in closures([], torch.Generator()))


def modules(name: str, paths: list[str], closed: Closed = "removed") -> GateGroup:
    return GateGroup(name, len(paths), "depth", (), blocks=tuple(Block(path, closed, ()) for path in paths))


@given(st.integers(1, 12), st.booleans(), st.integers(0, 5), st.integers(0, 2**31))
def test_of_blocks_every_one_is_closed_in_the_patterns_that_are_needed_and_never_all(
    count: int, branches: bool, units: int, seed: int
) -> None:
    groups = [modules("net", [f"net.{n}" for n in range(count)])]
    groups += [modules("a", [f"net.{n}.a" for n in range(count)], "zero")] if branches else []
    groups += [hidden(f"g{n}", "r", 2 + n) for n in range(units)]
    patterns = list(closures(groups, torch.Generator().manual_seed(seed)))
    for group in (group for group in groups if group.blocks):
        z = torch.stack([pattern[group.name] for pattern in patterns])
        assert z.shape == (len(patterns), count) and set(z.unique().tolist()) <= {0.0, 0.5, 1.0}
        assert bool((z > 0).any(1).all())
        if count > 1 and group.name == "net":
            assert bool((z[: needed(groups)] == 0).any(0).all())


@given(st.integers(2, 8), st.integers(0, 2**31))
def test_every_branch_is_closed_while_all_around_it_is_open(count: int, seed: int) -> None:
    groups = [
        modules("inner", [f"net.{n}.a.b" for n in range(count)], "zero"),
        modules("net", [f"net.{n}" for n in range(count)]),
        modules("branches", [f"net.{n}.a" for n in range(count)], "zero"),
    ]
    assert needed(groups) == 6 and needed(groups[1:]) == 4 and needed(groups[1:2]) == 2
    patterns = list(closures(groups, torch.Generator().manual_seed(seed)))[: needed(groups)]
    inner, blocks, branches = (torch.stack([p[name] > 0 for p in patterns]) for name in ("inner", "net", "branches"))
    assert bool((~blocks).any(0).all())
    assert bool((~branches & blocks).any(0).all())
    assert bool((~inner & branches & blocks).any(0).all())


@given(st.integers(2, 8), st.integers(0, 2**31))
def test_every_pattern_can_be_deployed(count: int, seed: int) -> None:
    """In every group of branches one is open in an open block, unless all its blocks are closed."""
    groups = [
        modules("net", [f"net.{n}" for n in range(count)]),
        modules("some", [f"net.{n}.a" for n in range(count - 1)], "zero"),
        modules("all", [f"net.{n}.b" for n in range(count)], "zero"),
    ]
    plan = Plan(tuple(groups), (), {}, {})
    gates = Gates(plan)
    for pattern in closures(groups, torch.Generator().manual_seed(seed)):
        open_ = torch.cat([pattern[name] for name in gates.slices]) > 0
        alive = gates.split(gates.alive(open_))
        assert bool(alive["net"].any()) and bool(alive["all"].any())
        assert bool(alive["some"].any()) or not bool((pattern["net"][: count - 1] > 0).any())

"""Which modules share a line, and that none is lost."""

import pytest

from lzero.fold import fold, unfolded


def paths(*blocks, leaves=("fc1", "fc2")):
    return [f"net.{block}.{leaf}" for block in blocks for leaf in leaves]


@pytest.mark.parametrize(
    ("names", "keys", "folded"),
    [
        (paths(0, 1, 2), "abababx"[:6], ["net.0-2.fc1", "net.0-2.fc2"]),
        (paths(0, 1, 2), "ababac", ["net.0-1.fc1", "net.0-1.fc2", "net.2.fc1", "net.2.fc2"]),
        (paths(0, 2), "abab", ["net.0.fc1", "net.0.fc2", "net.2.fc1", "net.2.fc2"]),  # 1 is something else
        (["a.0", "a.1", "a.2", "b"], "xxxx", ["a.0-2", "b"]),
        (["a.0.b.0", "a.0.b.1", "a.1.b.0", "a.1.b.1"], "xxxx", ["a.0-1.b.0-1"]),
        (["a.0.b.0", "a.0.b.1", "a.1.b.0"], "xxx", ["a.0.b.0-1", "a.1.b.0"]),
        (["a", "a.0", "a.1"], "xyy", ["a", "a.0-1"]),  # a parameter of the folder itself
        (["x1", "x2"], "aa", ["x1", "x2"]),
        ([], "", []),
    ],
)
def test_what_follows_and_is_alike_in_all_below_shares_a_line(names, keys, folded):
    assert [place.path for place in fold(names, list(keys))] == folded


def test_every_path_is_in_one_line_and_counts_multiply():
    names = [f"h.{block}.head.{head}" for block in range(12) for head in range(4)]
    (place,) = fold(names, ["x"] * 48)
    assert (place.folder, place.folders, place.leaf, place.leaves) == ("h.0-11.head", 12, "0-3", 4)
    assert sorted(place.members) == list(range(48))
    assert [place.members for place in unfolded(names)] == [(n,) for n in range(48)]

"""Columns that line up within a window, and the same as Markdown."""

import pytest

from lzero.fold import fold, unfolded
from lzero.listing import Column, Listing, by_reason, bytes_in_words, fitting, number, share, span

COLUMNS = [Column("units"), Column("parameters", (" -> ", "  "))]


def listing(names=("fc", "net.0.a", "net.1.a"), keys="xyy", unlike=False):
    places = fold(list(names), list(keys))
    cells = [[("7",), ("1,000", "10", "1.0%")], [(), ("20", "5", "25.0%")]]
    return Listing(COLUMNS, places, cells[: len(places)], [False, unlike][: len(places)], [(), ("1,040", "20", "1.9%")])


def test_parts_of_a_cell_line_up_under_folders():
    assert listing().lines() == [
        "     units          parameters",
        "fc       7  1,000 -> 10   1.0%",
        "net.0-1 (2 alike)",
        "  a            20 ->  5  25.0%",
        "all         1,040 -> 20   1.9%",
    ]
    assert "net.0-1 (2, least to most)" in listing(unlike=True).lines()


def test_a_heading_wider_than_its_cells_makes_room():
    page = Listing([Column("a long heading")], unfolded(["x"]), [[("1",)]], [False], [("2",)]).lines()
    assert page == ["     a long heading", "x                 1", "all               2"]


def test_markdown_has_whole_paths_and_a_rule():
    assert listing().markdown().splitlines() == [
        "| layer | units | parameters |",
        "|---|---:|---:|",
        "| fc | 7 | 1,000 -> 10 1.0% |",
        "| net.0-1.a (2 alike) |  | 20 -> 5 25.0% |",
        "| all |  | 1,040 -> 20 1.9% |",
    ]


def test_numbers_are_short_only_where_lines_would_be_too_long():
    def made(short):
        cell = (number(10**30, short=short),)
        return Listing([Column("n")] * 3, unfolded(["x"]), [[cell] * 3], [False], [cell] * 3)

    assert max(map(len, fitting(made))) <= 100 and "1e+18 T" in fitting(made)[1]


@pytest.mark.parametrize(
    ("value", "short", "text"),
    [
        (999_999, True, "999,999"),
        (48_000_000, False, "48,000,000"),
        (48_000_000, True, "48 M"),
        (2_362_368, True, "2.362 M"),
        (939_524_096, True, "939.5 M"),
        (1_234_567_890_123, True, "1.235 T"),
    ],
)
def test_numbers(value, short, text):
    assert number(value, short=short) == text


def test_spans_have_one_unit_where_they_are_short():
    assert [span(*ends) for ends in ((3, 3), (1_040, 4_160), (18_432, 73_728))] == ["3", "1,040-4,160", "18,432-73,728"]
    assert [span(*ends, short=True) for ends in ((1_040, 4_160), (8_432, 73_728), (950_000, 2_500_000))] == [
        "1,040-4,160",
        "8.43-73.7 k",
        "0.95-2.5 M",
    ]


def test_names_are_shortened_only_where_numbers_are_not_enough():
    def made(short):
        return Listing([Column("n" * 80)], unfolded(["a_very_long_name_of_a_layer"]), [[("1",)]], [False], [("2",)])

    lines = fitting(made)
    assert max(map(len, lines)) == 100
    assert lines[1].startswith("…") and "_of_a_layer" in lines[1]


def test_shares_and_bytes():
    assert [share(1, 4), share(0, 4), share(1, 10**4), share(0, 0)] == ["25.0%", "0.0%", "<0.1%", "–"]
    assert [bytes_in_words(n) for n in (999, 1500, 2_500_000, 3 * 10**9)] == ["999 bytes", "1.5 kB", "2.5 MB", "3 GB"]


def test_reasons_are_told_once_with_alike_places_together():
    said = [("left whole, it is read", f"net.{n}.fc", 8) for n in range(3)] + [("left whole, it is made", "head", 1000)]
    assert by_reason(said) == [
        "left whole, it is read: net.0-2.fc (8 each)",
        "left whole, it is made: head (1,000)",
    ]
    long = by_reason([("left whole, it is read", "a." * 60 + "b", 1), ("left whole, it is read", "c", 2)])
    assert long[-1] == "  c (2)"

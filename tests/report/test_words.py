"""Numbers in words."""

import pytest

from lzero.report import words

NARROW = "\u202f"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.percent(0.09999), f"10.00{NARROW}%"),
        (words.percent(1), f"100.00{NARROW}%"),
        (words.percent(None), "–"),
        (words.percent(float("nan")), "–"),
        (words.percent(float("inf")), "–"),
        (words.count(1234567.0), "1,234,567"),
        (words.count(None), "–"),
        (words.count(float("inf")), "–"),
        (words.amount(9_999_999), "9,999,999"),
        (words.amount(12_345_678), f"12.35{NARROW}M"),
        (words.amount(12_345_678_901), f"12.35{NARROW}G"),
        (words.size(999), "999 bytes"),
        (words.size(1000), f"1{NARROW}kB"),
        (words.size(23_456_789), f"23.5{NARROW}MB"),
        (words.size(5 * 10**9), f"5{NARROW}GB"),
        (words.duration(0.12345), f"0.1235{NARROW}ms"),
        (words.duration(None), "–"),
        (words.plain(1234), "1,234"),
        (words.plain(0.123456), "0.1235"),
        (words.plain("text"), "text"),
        (words.plain(True), "True"),
    ],
)
def test_numbers_are_said_as_a_reader_wants_them(said, expected):
    assert said == expected

"""What the catalogue reads out of code: words, fields, the calls that fill them in. What it cannot read, it says."""

import pytest
from catalogue.sites import Sites
from catalogue.source import Package

START = """
import warnings
from dataclasses import dataclass

class Wrong(ValueError): ...
class Caution(UserWarning): ...

@dataclass(frozen=True)
class Reason:
    text: str
    advice: str = ""

"""


@pytest.fixture
def read(tmp_path):
    """The messages of a module with this code, and what could not be read."""

    def run(code, *more, **declared):
        folder = tmp_path / "pack"
        folder.mkdir()
        for name, text in (("__init__", ""), ("one", START + code), *more):
            (folder / f"{name}.py").write_text(text)
        found = Sites(Package("pack", root=tmp_path), **declared)
        assert all(site.path.startswith("pack/") for site in found.found)
        return {(site.kind, site.text, *([site.advice] if site.advice else [])) for site in found.found}, found.unread

    return run


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise Wrong('it is so; change it')", "it is so; change it"),
        ("raise Wrong(f'{name}: it is {x.size:,} wide, {x!r}')", "‹name›: it is ‹x size› wide, '‹x›'"),
        (
            "raise Wrong(f'{type(x).__name__}: {len(x)} of them are here')",
            "‹class of x›: ‹number of x› of them are here",
        ),
        ("raise Wrong('it is so' + ('' if x else ' and so'))", "it is so[ and so]"),
        (
            'raise Wrong(f\'whole {"experts" if x else "blocks"} of it are closed\')',
            "whole [experts | blocks] of it are closed",
        ),
        ("raise Wrong(f'it is so; {AGAIN}')", "it is so; do it again"),
        ("raise Wrong(f'one of {\", \".join(NAMES)} it must be')", "one of 'a', 'b' it must be"),
        ("said = f'{name} is odd'\n    raise Wrong(f'{said}; make it even')", "‹name› is odd; make it even"),
    ],
)
def test_words_and_fields(read, body, said):
    found, unread = read(f"AGAIN = 'do it again'\nNAMES = ('a', 'b')\ndef f(name, x):\n    {body}\n")
    assert found == {("Wrong", said)} and unread == []


def test_two_ways_to_say_it_are_two_messages(read):
    found, _ = read("def f(x):\n    raise Wrong('this is one thing' if x else 'that is quite another')\n")
    assert found == {("Wrong", "this is one thing"), ("Wrong", "that is quite another")}


def test_a_helper_is_followed_to_its_calls(read):
    found, unread = read(
        "from pack.two import check\n"
        "def _odd(what):\n    return Wrong(f'odd: {what}; mend it')\n"
        "def f(x):\n    raise _odd('its first part is missing')\n"
        "def g(x):\n    raise _odd('its last part is missing')\n"
        "def h(width):\n    check('width', width, 'a number > 0', error=Wrong)\n",
        (
            "two",
            "from pack.one import Wrong\n"
            "def check(name, value, expected, error: type[Wrong]):\n"
            "    raise error(f'{name}: expected {expected}, found {value}')\n",
        ),
    )
    assert unread == []
    assert found == {
        ("Wrong", "odd: its first part is missing; mend it"),
        ("Wrong", "odd: its last part is missing; mend it"),
        ("Wrong", "width: expected a number > 0, found ‹width›"),
    }


def test_what_names_a_place_alone_is_not_followed(read):
    found, _ = read(
        "def _odd(place):\n    raise Wrong(f'{place}: it is odd here')\ndef f():\n    _odd('the first of all places')\n"
    )
    assert found == {("Wrong", "‹place›: it is odd here")}


def test_methods_are_told_apart_by_the_class_of_their_object(read):
    found, unread = read(
        "class Book:\n    def freeze(self, reason: Reason): ...\n"
        "class Call:\n"
        "    def __init__(self):\n        self.book = Book()\n"
        "    def freeze(self, why: str, advice: str = ''):\n        self.book.freeze(Reason(why, advice))\n"
        "def rule(call: Call):\n    call.freeze('it mixes all units', 'take another op')\n    call.freeze('')\n"
    )
    assert unread == [] and found == {("Reason", "it mixes all units", "take another op")}


def test_warnings_and_lists_of_words(read):
    found, unread = read(
        "def doubts(x):\n"
        "    reasons = []\n    reasons.append('the training was too short')\n"
        "    return [f'not so: {\"; \".join(reasons)}']\n"
        "def f(texts):\n    for text in texts:\n        warnings.warn(text, Caution, stacklevel=2)\n",
        followed={("pack/one.py", "text"): [("pack.one", "doubts")]},
    )
    assert unread == [] and found == {("Caution", "not so: the training was too short")}


@pytest.mark.parametrize(
    "code",
    [
        "def f(problem):\n    raise problem\n",
        "def f(x):\n    raise Wrong(str(x))\n",
        "def f(texts):\n    for text in texts:\n        warnings.warn(text, Caution)\n",
        "def f(x):\n    raise Wrong(x.said)\n",
        "def f(x):\n    raise x.wrong('it is so and so')\n",
        "def f(x):\n    return Reason(x.text[0])\n",
        "def f(x):\n    raise Wrong\n",
    ],
)
def test_what_cannot_be_read_is_said(read, code):
    found, unread = read(code)
    assert found == set() and len(unread) == 1 and "pack/one.py:" in unread[0]


def test_what_is_declared_is_left_out_and_noted(read):
    found, unread = read("def f(problem):\n    raise problem\n", passed_on={("pack/one.py", "f")})
    assert found == set() and unread == []

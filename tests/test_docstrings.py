"""Every public name says what it gives, what it takes and what it raises, in sections that the reference shows."""

import re

import pytest
from public import PUBLIC

from lzero import gates

HOOKS = re.compile(r"\.Budget\.(on_\w+|setup|teardown)$")  # a framework calls them, with what it passes
ESTIMATORS = re.compile(rf"lzero\.(?:gates\.)?(?:{'|'.join({*gates.__all__} - {'Estimator', 'Gates'})})\.(\w+)")
ALL = pytest.mark.parametrize("name", PUBLIC)


def sections(text):
    """Heading -> its entries: the words before a colon, of which several may share one."""
    found, heading = {}, None
    for line in text.splitlines():
        start = re.fullmatch(r"(Args|Attributes|Returns|Raises|Warns|Example|Source):.*", line)
        if start:
            heading = start[1]
            found[heading] = []
        elif line and not line.startswith(" "):
            heading = None
        elif heading and (entry := re.match(r"    ([\w*]+(?:, [\w*]+)*):", line)):
            found[heading] += entry[1].split(", ")
    return found


@ALL
def test_it_says_what_it_gives(name):
    first = PUBLIC[name].docstring.partition("\n\n")[0]
    assert first and not first.startswith(("Args", "Raises"))


@ALL
def test_every_parameter_is_explained(name):
    public, base = PUBLIC[name], ESTIMATORS.fullmatch(name)
    like = re.search(rf"`(?:\w+\.)+{name.rpartition('.')[2]}`", public.docstring)  # as :meth:`lzero.Solver.step`
    if HOOKS.search(name) or like or (base and f"lzero.gates.Estimator.{base[1]}" in PUBLIC):
        return
    found = sections(public.docstring)
    entries = [*found.get("Args", ()), *found.get("Attributes", ())]
    own = public.inside is None  # methods may name what they take in a sentence
    missing = [
        parameter
        for parameter in public.parameters
        if parameter not in entries and (own or f"``{parameter}``" not in public.docstring)
    ]
    assert not missing, f"{name}: no Args or Attributes for {', '.join(missing)}"


@ALL
def test_what_it_raises_is_listed(name):
    public = PUBLIC[name]
    if HOOKS.search(name):
        return
    assert not public.raises or sections(public.docstring).get("Raises"), f"{name}: raises, and has no Raises section"


def test_no_section_names_what_is_not_taken():
    for name, public in PUBLIC.items():
        if public.parameters:
            extra = set(sections(public.docstring).get("Args", ())) - set(public.parameters) - {"optimizers", "options"}
            assert not extra, f"{name}: Args has {', '.join(sorted(extra))}"


def test_sections_are_read():
    text = "What.\n\nArgs:\n    a: x\n        more: not\n    b, c: y\n\nRaises:\n    Odd: no.\n"
    assert sections(text) == {"Args": ["a", "b", "c"], "Raises": ["Odd"]}

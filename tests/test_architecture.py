"""The page of the architecture: every block on it runs, is short, and does what the text says."""

import re
from pathlib import Path

import pytest
import torch

import lzero
import lzero_lab.errors
from lzero.surgery.layers.registry import EXTENTS, SIZES
from lzero.surgery.numbers.registry import FAMILIES
from lzero.tracing.rules.registry import RULES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def names():
    """What the blocks define, run from top to bottom; what they register is taken back."""
    tables = [RULES, SIZES, EXTENTS, FAMILIES]
    before = [table.copy() for table in tables]
    torch.manual_seed(0)
    found: dict = {"__name__": "page"}
    try:
        for block in BLOCKS:
            exec(compile(block, "docs/architecture.md", "exec"), found)
        yield found
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content) if isinstance(table, dict) else table.extend(content)


def test_what_is_added_works(names):
    assert [group.size for group in names["plan"]] == [12]
    assert [group.size for group in names["tables"]] == [6]
    assert len(names["probit"]) == 12
    certificate = names["budget"].result.certificate
    assert 0 <= certificate.asked["params"] - certificate.deployed["params"] < 0.05


def test_without_the_rule_and_the_layer_nothing_is_gated(names):
    del RULES["aten._fft_r2c"]
    del SIZES["page.Table"]
    mixer, table = names["Mixer"](), names["Table"](6)
    assert not lzero.discover(mixer, torch.randn(2, 7, 5)).groups
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), table, torch.nn.Linear(6, 2))
    assert not lzero.discover(model, torch.rand(3, 4)).groups


def test_each_addition_is_short():
    sections = re.split(r"^## Adding ", PAGE, flags=re.MULTILINE)[1:]
    assert len(sections) == 5
    for section in sections:
        for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            assert len([line for line in block.splitlines() if line.strip()]) <= 30, section.splitlines()[0]


def test_every_room_and_every_verb_is_on_the_page():
    source, lab = (Path(package.__file__).parent for package in (lzero, lzero_lab.errors))
    rooms, parts = ({path.name for path in root.iterdir() if (path / "__init__.py").exists()} for root in (source, lab))
    assert all(f"| `{room}/` |" in PAGE for room in rooms | parts)
    named = set(re.findall(r"`([a-z_/]+\.py)`", PAGE))
    for name in named - {"tests/test_imports.py", "tests/test_house.py", "tests/test_mirrors.py"}:
        places = [source / name, *(source / room / name for room in rooms), *(lab / part / name for part in parts)]
        assert any(place.exists() for place in places) or (ROOT / name).exists(), name

"""README says what the committed measurements say, and its programs run."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

import lzero

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("script", ["readme", "measured"])
def test_what_was_measured_is_what_the_csv_files_give(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--check"])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(ROOT / "figures" / f"{script}.py"), run_name="__main__")
    assert exit_.value.code == 0, f"it is older than the CSV files: run python figures/{script}.py"


ELSEWHERE = ("accelerate_digits", "transformers_digits")  # these run in tests/integrations
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem not in ELSEWHERE]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trains_to_what_it_asks_for_and_ships_it(example, capsys, recwarn):
    try:
        names = runpy.run_path(str(example))
    except ModuleNotFoundError as missing:  # a framework of an integration
        pytest.skip(str(missing))
    certificate = names["result"].certificate
    asked = certificate.requested["params"]
    assert 0 <= asked - certificate.deployed["params"] < 0.01
    assert abs(certificate.trained["params"] - asked) < 0.01
    assert not certificate.warnings and not [w for w in recwarn if issubclass(w.category, lzero.LzeroWarning)]
    said = capsys.readouterr().out
    assert f"asked {asked:.2%}" in said
    if example.stem == "plain_loop":
        errors = [float(text) for text in re.findall(r"test error ([0-9.]+)%", said)]
        assert len(errors) == 2 and max(errors) < 5


def test_the_plain_loop_is_the_dense_one_and_four_numbered_lines():
    text = (ROOT / "examples" / "plain_loop.py").read_text(encoding="utf-8")
    dense, gated = (part.split("print(")[0] for part in text.split("\n\n")[-3:-1])
    lines = [line for line in gated.splitlines() if not re.search(r"  # \d$", line)]
    assert "\n".join(lines).strip() == dense.replace("dense", "model").strip()
    assert re.findall(r"  # (\d)$", text, re.MULTILINE) == ["1", "2", "3", "4"]
    assert len(text.splitlines()) < 50


def test_the_page_of_methods_runs_from_top_to_bottom():
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.DOTALL)
    torch.manual_seed(0)
    for block in blocks:
        exec(compile(block, "docs/methods.md", "exec"), names)
        if "result" in names:
            certificate = names["result"].certificate
            assert all(certificate.deployed[name] <= asked for name, asked in certificate.requested.items())
    assert len(blocks) > 4 and sum(p.numel() for p in names["small"].parameters()) <= 0.3 * 1268

"""The scoreboard: a real row, rows of what hangs, dies or is not exact, a run that goes on, and its page."""

import os
import time

import page
import pytest
import row as rows
import run
import source
import torch
from row import Row
from torch import nn

pytest.importorskip("transformers")
import tiny

ONE = Row("bert", "BertModel", 100, 0.2, 4, 10, 70.0, 30.0, 0.3, 5, 20, 99.0, 2.0, 1e-15, "float64", "batch", "exact")


def test_bert_is_exact_by_units_and_by_all_there_is():
    found = rows.measure("bert")
    assert (found.state, found.reason, found.dtype, found.fresh) == ("exact", "", "float64", "batch and length")
    assert found.worst < 1e-9
    assert found.width_groups == found.groups + 2
    assert found.width_units == found.units + 32 + 2
    assert found.floor > 100 - found.reach > 0
    assert found.width_floor < 5 < 95 < found.width_reach


class Halves(nn.Module):
    """Reads `input_ids`; its hidden units are found, and the sum of its middle ones is not what purging can keep."""

    main_input_name = "input_ids"
    config = None

    def __init__(self, trap):
        super().__init__()
        self.table, self.up, self.down = nn.Embedding(60, 8), nn.Linear(8, 12), nn.Linear(12, 3)
        self.trap = trap

    def forward(self, input_ids):
        hidden = self.up(self.table(input_ids)).relu()
        if self.trap and len(input_ids) == 3:
            hidden = hidden + hidden.sum(-1, keepdim=True) / hidden.shape[-1]
        return self.down(hidden)


def test_values_that_differ_on_fresh_inputs_alone_are_wrong():
    found = rows.measured(Row("trap"), Halves(True), ["input_ids"])
    assert found.state == "wrong"
    assert found.reason.startswith("unit: differs by")


class Tied(Halves):
    """Chooses by two values that are equal but for rounding, on some of the inputs that discovery has not seen."""

    def forward(self, input_ids):
        made = super().forward(input_ids)
        if len(input_ids) == 3 and input_ids[0, 0] % 2:
            made = made + (made.sum() - made.flatten().cumsum(0)[-1]).sign()
        return made


def test_inputs_at_a_tie_of_the_model_itself_are_left_out():
    torch.manual_seed(0)
    found = rows.measured(Row("tied"), Tied(False), ["input_ids"])
    assert (found.state, found.worst < 1e-9) == ("exact", True)
    assert "at a tie" in found.fresh


def test_a_crash_is_no_refusal(monkeypatch):
    def broken(*_, **__):
        raise IndexError("a bug")

    monkeypatch.setattr(rows.lzero, "discover", broken)
    found = rows.measured(Row("bug"), Halves(False), ["input_ids"])
    assert (found.state, found.reason) == ("crash", "unit: IndexError: a bug")


def test_an_error_of_the_library_is_a_refusal():
    class Tied(Halves):
        def forward(self, input_ids):
            return self.table(input_ids)

    found = rows.measured(Row("tied"), Tied(False), ["input_ids"])
    assert (found.state, found.groups, found.worst) == ("refused", 0, None)
    assert found.reason


def hangs(kind, tell):
    tell(Row(kind, "Model", groups=3, state="time", reason="width"))
    time.sleep(60)


def works(kind, tell):
    tell(Row(kind, "Model", groups=3, state="time", reason="width"))
    while True:
        pass


def dies(kind, tell):
    tell(Row(kind, "Model", state="time", reason="unit"))
    os._exit(9)


def eats(kind, tell):
    torch.zeros(run.GIBIBYTES << 28, dtype=torch.float32)


@pytest.mark.parametrize(("work", "patience", "limit"), [(hangs, 4, "1 s by the clock"), (works, 40, "0.25 s")])
def test_a_type_that_takes_too_long_keeps_what_was_told(work, patience, limit, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE", patience)  # 40: a busy machine gives a quarter of a second late
    found, seconds = run.apart("slow", 0.25, work)
    assert (found.groups, found.state, found.reason) == (3, "time", f"width: more than {limit}")
    assert seconds < (5 if work is hangs else 10)


@pytest.mark.parametrize("work", [dies, eats])
def test_a_type_whose_process_dies_has_a_row(work):
    found, _ = run.apart("dead", 20, work)
    assert found.type == "dead"
    assert "its process ended with" in found.reason
    assert found.state == ("crash" if work is dies else "not built")


def test_a_run_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    asked = []

    def measured(kind, limit, work):
        asked.append(kind)
        return Row(kind, state="not built" if kind == "gpt2" else "exact"), 0.0

    monkeypatch.setattr(run, "apart", measured)
    monkeypatch.setattr(run.signal, "signal", lambda *_: None)
    file = tmp_path / "rows.csv"
    run.append(ONE, file)
    run.main(["--only", "bert", "gpt2", "t5", "--csv", str(file)])
    run.main(["--only", "bert", "gpt2", "t5", "--csv", str(file)])
    assert asked == ["gpt2", "t5"]
    run.main(["--only", "bert", "gpt2", "t5", "--csv", str(file), "--again", "not built"])
    assert asked == ["gpt2", "t5", "gpt2"]
    assert [line["type"] for line in page.read(file)] == ["bert", "t5", "gpt2"]
    assert "1/2 gpt2 not built" in capsys.readouterr().out


def test_the_order_is_one_of_all_types():
    kinds = tiny.types()
    assert sorted(run.order(kinds)) == kinds
    assert run.order(kinds[:50]) == [kind for kind in run.order(kinds) if kind in kinds[:50]]


def test_the_page_counts_and_lists(tmp_path):
    file = tmp_path / "rows.csv"
    bad = Row("odd", "Odd", 7, 1.0, 1, 2, 50.0, 60.0, worst=0.5, state="wrong", reason="unit: differs\nby | 5e-01")
    for row in (ONE, bad, Row("none", state="not built", reason="no luck")):
        run.append(row, file)
    text = page.page(page.read(file), 9)
    assert "**3 of 9 types so far**" in text
    assert "| 3 | 2 | 2 | 1 | 0 | 1 | 0 | 0 | 1 |" in text
    assert "| reach | 60.0 % | 99.0 % |" in text
    assert "| odd | wrong | unit: differs by \\| 5e-01 |" in text
    assert "| bert | BertModel | 100 | 0.2 | 4 | 70.0 | 30.0 | 5 | 99.0 | 2.0 | 1.0e-15 | batch |" in text
    assert "| none | no luck |" in text


def test_the_page_of_torchvision_stands_beside_what_a_peer_says_of_itself():
    rows = {"torchvision": [], "timm": []}
    for name, state in (("swin_t", "exact"), ("vgg11", "exact"), ("alexnet", "time"), ("maxvit_t", "refused")):
        rows["torchvision"].append(run.asdict(Row(name, "Net", 9, 1.0, 2, 3, 100.0, 0.1, state=state)))
    made = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows["torchvision"]]
    text = page.vision_page({"torchvision": made, "timm": []})
    assert "| runs | 77 | 2 | 1 | alexnet (time) |" in text
    assert "| does not run | 8 | 1 | 1 |  |" in text
    assert "**4 of 109** so far." in text and "**0 of 98** so far." in text
    assert "| vgg11 | Net | 9 | 1.0 | 2 | 100.0 | 0.1 | 2 | 100.0 | 0.1 |  |  |" in text


def test_the_versions_of_the_vision_board_are_those_that_make_installs():
    makefile = page.PAGE.parents[1] / "Makefile"
    if not makefile.exists():
        pytest.skip("a wheel without its Makefile")
    text = makefile.read_text(encoding="utf-8")
    assert all(f"{name}=={version}" in text for name, (version, _) in source.VISION.items())


def test_the_committed_page_is_that_of_the_committed_rows():
    if not page.PAGE.exists():
        pytest.skip("a checkout without docs")
    vision = page.vision_page({name: page.read(run.FILE.with_stem(name)) for name in ("torchvision", "timm")})
    for path, made in ((page.PAGE, page.page(page.read(run.FILE), 0)), (page.VISION_PAGE, vision)):
        found = path.read_text(encoding="utf-8")
        lines = [line for line in made.splitlines() if line.startswith("| ")]
        assert [line for line in found.splitlines() if line.startswith("| ")] == lines


def test_the_committed_coverage_is_that_of_the_committed_rows():
    if not page.COVERAGE.exists():
        pytest.skip("a checkout without docs")
    text = page.COVERAGE.read_text(encoding="utf-8")
    assert page.covered(text, page.all_rows()) == text
    assert page.covered(text, {}) != text and page.covered(page.covered(text, {}), page.all_rows()) == text

"""Studies: what their files say, what is refused in them, and the cells that they plan."""

import pytest
from small_study import TEXT

from lzero_lab.errors import DataError
from lzero_lab.studies.study import Study, names


def test_every_method_meets_every_budget_seed_by_seed(study):
    cells = study.cells("somewhere")
    assert [dict(cell.labels)["label"] for cell in cells[:5]] == [
        "constrained",
        "binary",
        "constrained",
        "binary",
        "once",
    ]
    assert [cell.recipe.seed for cell in cells] == [0] * 5 + [1] * 5
    assert {cell.data_dir for cell in cells} == {"somewhere"}
    binary = cells[3].recipe
    assert (binary.estimator, binary.gate_lr, binary.steps, binary.batch_size, binary.target) == (
        "arm",
        0.1,
        9,
        64,
        0.33,
    )
    assert cells[1].recipe.steps == 12
    assert len({cell.key for cell in cells}) == len(cells)


def test_a_part_can_be_chosen(study):
    part = study.choose(methods=["binary"], seeds=[7])
    assert [(cell.recipe.seed, cell.recipe.target) for cell in part.cells()] == [(7, 0.5), (7, 0.33)]
    with pytest.raises(DataError, match="no method is called 'no'; there are: constrained, binary, once"):
        study.choose(methods=["no"])
    with pytest.raises(DataError, match="no budget is called 'no'"):
        study.choose(budgets=["no"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = ", "not readable as TOML"),
        ("data = " + "[" * 100_000, "not readable as TOML"),
        (TEXT.replace("methods.constrained", 'methods."a\\nb"'), r"methods: 'a\\nb': expected a name of printable"),
        (TEXT.replace("methods.constrained", 'methods.""'), "methods: '': expected a name of printable"),
        (TEXT.replace("budgets.half", 'budgets."a\\u001bb"'), "budgets: 'a.*b': expected a name of printable"),
        (TEXT.replace("target = 0.5", 'target = 0.5\nscope = ""'), "scope: expected model, layer or a table"),
        (TEXT.replace("gate_lr = 0.01", f"gate_lr = {10**400}"), "gate_lr: expected a finite number"),
        (TEXT.replace("steps = 12", f"steps = {10**30}"), "steps: expected at most 2"),
        ("data = 'digits'", "expected budgets, data, methods, networks, seeds, found data"),
        (TEXT.replace("gate_lr = 0.01", "gate_rate = 0.01"), "method 'once' at 'third'.*gate_rate"),
        (TEXT.replace('"digits"', '"digitz"'), "data: no data set is called 'digitz'; there are: digits"),
        (TEXT.replace("[0, 1]", "0"), "seeds: expected a list of whole numbers"),
        (TEXT.replace("[0, 1]", "[true]"), "seeds: expected a list of whole numbers"),
        (TEXT.replace("[0, 1]", "[]"), "seeds: expected a list of whole numbers"),
        (TEXT.replace("[0, 1]", f"[{2**64}]"), "seed: expected a whole number from"),
        (TEXT.replace("networks.mlp", "networks.mpl"), "networks: no budget has the model 'mpl'; there are: mlp"),
        (TEXT.replace('model = "mlp"', 'model = "mpl"'), "budgets: no network is called 'mpl'"),
        (TEXT.replace("on.mlp", "on.lenet"), "methods, 'binary', on: no budget has the model 'lenet'"),
        (
            TEXT.replace("at.third", "at.thrid"),
            "methods, 'binary', at: no budget is called 'thrid'; there are: half, t",
        ),
        (TEXT.replace("at.third = { steps = 9 }", "at.third = 9"), "at, 'third': expected a table of fields, found 9"),
        (TEXT.replace('["third"]', '["thrid"]'), "methods, 'once', only: no budget is called 'thrid'"),
        (TEXT.replace('["third"]', '"third"'), "only: expected a list of budgets, found 'third'"),
        (TEXT.replace("[methods.once]", "[methods]\nhc = 3\n[methods.once]"), "methods, 'hc': expected a table"),
        (
            TEXT.replace('estimator = "arm"', 'estimator = "arms"'),
            "'binary' at 'half': estimator: no 'arms'; there are",
        ),
        (TEXT.replace('estimator = "arm"', 'method = "constrain"'), "method: expected one of constrained, penalized"),
        (TEXT.replace('estimator = "arm"', 'optimizer = "adamw"'), "optimizer: expected one of adam, sgd"),
        (TEXT.replace('estimator = "arm"', "batch_size = 0"), "batch_size: expected at least 1, found 0"),
        (TEXT.replace('estimator = "arm"', 'lr = "fast"'), "lr: expected a finite number, found 'fast'"),
        (TEXT.replace('estimator = "arm"', "solver = 3"), "solver: expected a table of arguments, found 3"),
        (TEXT.replace('estimator = "arm"', "solver = { step = 1 }"), "no argument 'step'; it takes anneal_steps"),
        (TEXT.replace('estimator = "arm"', 'solver = { anneal_steps = "x" }'), "anneal_steps: expected a whole number"),
        (
            TEXT.replace('estimator = "arm"', 'method = "penalized"\nsolver = { dual_lr = 1.0 }'),
            "solver: 'penalized' has no argument 'dual_lr'; it takes nothing",
        ),
    ],
)
def test_a_file_that_is_no_study_is_refused_with_its_place(tmp_path, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Study.read(path).cells()


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"wrong\.toml: no study \(not UTF-8\); there are: .*mnist"):
        Study.read(path)


def test_a_seed_counts_once(study):
    assert [cell.recipe.seed for cell in study.choose(methods=["once"], seeds=[2, 2, 1]).cells()] == [2, 1]


def test_an_unknown_study_names_those_that_exist():
    with pytest.raises(DataError, match=r"there are: .*mnist"):
        Study.read("nothing")


@pytest.mark.parametrize("name", names())
def test_the_studies_of_the_library_are_plans_of_different_trainings(name):
    cells = Study.read(name).cells()
    assert len({cell.key for cell in cells}) == len(cells) > 10

"""Studies: what their files say, what is refused in them, and the cells that they plan."""

import pytest
from small_study import TEXT

from lzero_lab.errors import DataError
from lzero_lab.models import WideResNet
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
        (TEXT.replace("[methods.once]", "[methods.once]\nwhy = 3"), "methods, 'once', why: expected a text, found 3"),
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


STARTS = (
    TEXT
    + """
[methods.whole]
method = "dense"
epochs = 25
only = ["third"]
[methods.later]
start = "whole"
epochs = 25
steps = 30
only = ["third"]
"""
)


def written(tmp_path, text):
    path = tmp_path / "other.toml"
    path.write_text(text, encoding="utf-8")
    return Study.read(path)


def test_a_budget_can_list_its_methods(tmp_path):
    study = written(tmp_path, TEXT.replace("target = 0.33", 'target = 0.33\nmethods = ["once"]'))
    labels = [tuple(value for _, value in cell.labels) for cell in study.choose(seeds=[0]).cells()]
    assert labels == [("constrained", "half"), ("binary", "half"), ("once", "third")]
    with pytest.raises(DataError, match="budgets, 'third', methods: no method is called 'twice'"):
        written(tmp_path, TEXT.replace("target = 0.33", 'target = 0.33\nmethods = ["twice"]'))
    with pytest.raises(DataError, match="budgets, 'third', methods: expected a list"):
        written(tmp_path, TEXT.replace("target = 0.33", 'target = 0.33\nmethods = "once"'))


def test_a_training_names_the_one_whose_network_it_begins_with_of_its_own_seed(tmp_path):
    study = written(tmp_path, STARTS)
    for seed in (0, 1):
        cells = {dict(cell.labels)["label"]: cell for cell in study.choose(seeds=[seed], budgets=["third"]).cells()}
        assert cells["later"].recipe.start == cells["whole"].file_name and cells["whole"].begins_others
        assert not cells["later"].begins_others and not cells["once"].begins_others
    chosen = study.choose(methods=["later"], seeds=[0]).cells()
    assert [dict(cell.labels)["label"] for cell in chosen] == ["whole", "later"]
    assert [cell.recipe.start for cell in chosen] == ["", chosen[0].file_name]


def test_a_share_of_the_epochs_is_rounded_up_and_follows_them(tmp_path):
    text = STARTS.replace("steps = 12\n", "epochs = 24\n").replace("epochs = 25\nsteps = 30", "share_of_epochs = 0.1")
    study = written(tmp_path, text)
    assert [cell.recipe.epochs for cell in study.choose(methods=["later"], seeds=[0]).cells()] == [25, 3]
    assert [cell.recipe.epochs for cell in study.altered(epochs=8).choose(methods=["later"], seeds=[0]).cells()] == [
        25,
        1,
    ]
    for wrong in ("0.0", "2", "true", '"x"'):
        with pytest.raises(DataError, match="share_of_epochs: expected a share"):
            written(tmp_path, text.replace("share_of_epochs = 0.1", f"share_of_epochs = {wrong}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STARTS.replace('start = "whole"', 'start = "holes"'), "'later', start: no method is called 'holes'"),
        (STARTS.replace('start = "whole"', 'start = "later"'), "'later' begins with another one"),
        (STARTS.replace('only = ["third"]\n[methods.later]', 'only = ["half"]\n[methods.later]'), None),
        (STARTS + "[budgets.other]\nmodel = 'lenet5'\n[networks.lenet5]\n[methods.z]\nstart = 'whole'\n",
         "method 'z' at 'other': no 'whole' of that network"),
        ("note = 3\n" + TEXT, "note: expected a text"),
        ("curves.thrid = []\n" + TEXT, "curves: no budget is called 'thrid'"),
        ("curves.third = 3\n" + TEXT, "curves, 'third': expected a list of methods"),
        ("curves.third = ['twice']\n" + TEXT, "curves, 'third': no method is called 'twice'"),
        ("curves = 3\n" + TEXT, "curves: expected methods for each budget"),
    ],
)  # fmt: skip
def test_what_refers_to_nothing_is_refused(tmp_path, text, message):
    if message is None:  # of the same network at another budget
        assert written(tmp_path, text).choose(seeds=[0]).cells()[-1].recipe.start
        return
    with pytest.raises(DataError, match=message):
        written(tmp_path, text).cells()


def test_the_study_of_cifar_has_its_first_seed_of_one_network_before_all_else():
    cells = Study.read("cifar").cells()
    assert [cell.recipe.model for cell in cells[:25]] == ["resnet20"] * 25
    assert cells[0].recipe.method == "dense" and cells[0].begins_others
    assert [cell.recipe.target for cell in cells[1:25]] == sorted(
        (c.recipe.target for c in cells[1:25]), key=(0.2, 0.1, 0.5).index
    )
    penalties = [cell for cell in cells if cell.recipe.ignore and cell.recipe.seed == 0]
    parameters = [sum(p.numel() for p in WideResNet(depth, width).parameters()) for depth, width in ((16, 2), (28, 10))]
    assert [cell.recipe.coefficient for cell in penalties] == [
        pytest.approx(0.001 * size / 50_000, rel=5e-3) for size in parameters for _ in range(2)
    ]
    assert {cell.recipe.ignore for cell in penalties} == {WideResNet.STREAMS}
    shared = {
        (c.recipe.lr, c.recipe.epochs, c.recipe.batch_size, c.recipe.gate_lr) for c in cells if not c.recipe.start
    }
    assert len(shared) == 1


def test_the_study_of_mnist_asks_for_two_budgets_at_once_and_leaves_rates_of_gates_to_the_library():
    cells = Study.read("mnist").cells()
    both = [cell.recipe for cell in cells if "," in dict(cell.labels)["budget"]]
    assert both and all(len(recipe.constraints) == 2 for recipe in both)
    assert all(cell.recipe.gate_lr is None for cell in cells if cell.recipe.estimator == "hard_concrete")

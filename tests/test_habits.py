"""What people meet beside the code: the changelog, hooks before a commit, forms of issues, the sdist."""

import re
import tomllib
from pathlib import Path

import pytest

import lzero

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORMS = [path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]


def commands(target):
    """What the Makefile runs for ``target``."""
    block = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in block[1].splitlines()]


def test_hooks_run_what_make_lint_runs_and_fetch_nothing():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +entry: (.*)$", text, re.MULTILINE) == commands("lint")
    assert re.findall(r"repo: (.*)$", text, re.MULTILINE) == ["local"]
    assert text.count("language: system") == text.count("pass_filenames: false") == len(commands("lint"))


def test_ci_runs_make_test_which_lints_first():
    assert "run: make test\n" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.search(r"^test: lint$", MAKEFILE, re.MULTILINE)


def test_the_changelog_begins_with_this_version_and_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert heads[0].startswith(f"[{lzero.__version__}] - ")
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", head) for head in heads)
    assert heads == sorted(heads, reverse=True)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert not re.search(r"#\d", text)


def test_names_that_the_changelog_calls_new_are_there_and_removed_ones_are_gone():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    added, _, removed = text.partition("### Removed")
    for name in re.findall(r"`lzero\.(\w+)", added):
        assert hasattr(lzero, name), name
    for name in re.findall(r"`lzero\.(\w+)", removed.partition("###")[0]):
        assert not hasattr(lzero, name), name


def test_contributing_names_targets_and_files_that_there_are():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z-]+)(?=[ `])", text):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    for place in re.findall(r"`((?:src|tests|figures|benchmarks|docs)/[\w/.]*)`", text):
        assert (ROOT / place).exists() or re.search(r"NAME|/X/", place), place
    heads = re.findall(r"^## (.*)$", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = [re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads]
    for place, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!https)([^)]+)\)", text)):
        assert (ROOT / place).exists() and (not anchor or anchor in anchors), (place, anchor)


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_every_form_of_an_issue_asks_for_lzero_info(form):
    yaml = pytest.importorskip("yaml")
    page = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert page.keys() == {"name", "description", "labels", "body"}
    fields = {part["id"]: part for part in page["body"]}
    assert len(fields) == len(page["body"]) and all(part["attributes"]["label"] for part in page["body"])
    assert "`lzero info`" in fields["info"]["attributes"]["label"] and fields["info"]["validations"]["required"]


def test_there_is_a_form_for_bugs_refused_models_and_wishes():
    assert {form.stem for form in FORMS} == {"bug", "feature", "refused_model"}


def test_the_sdist_has_all_that_its_pages_name():
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert all((ROOT / name).exists() for name in included)
    assert {"src", "tests", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff"} <= {*included}


def test_python_is_that_of_ci_and_of_the_makefile():
    (bound,) = re.fullmatch(r">=(3\.\d+)", PROJECT["project"]["requires-python"]).groups()
    assert f'python-version: "{bound}"' in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert f"sys.version_info >= ({bound.replace('.', ', ')})" in MAKEFILE
    assert f"Programming Language :: Python :: {bound}" in PROJECT["project"]["classifiers"]

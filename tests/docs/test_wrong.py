"""The page of all messages: nothing is missing, it is as the code is, and what it tells of the worst troubles runs."""

import ast
import re
import warnings
from pathlib import Path

import pytest
import torch
from catalogue.known import FOLLOWED, PASSED_ON, TOLD_HERE, UNMET
from catalogue.page import expectation, split
from catalogue.refusals import NOTHING, REASONS
from catalogue.source import called
from catalogue.topics import FILES, TOPICS
from catalogue.tree import ROOT
from catalogue.written import MARK, PAGE, sites, written

FOUND = sites()
TEXT = PAGE.read_text(encoding="utf-8")
PARSED = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for name in ("lzero", "lzero_lab")
    for path in sorted((ROOT / name).rglob("*.py"))
}
DECLARED = {path for path, _ in (*PASSED_ON, *UNMET)}


def spoken(tree):
    """Lines that make an error with words, or warn, however they look."""
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Return) else node
        if isinstance(call, ast.Call) and call.args:
            name = ast.unparse(call.func)
            own = name == "warnings.warn" or (call is not node and name.endswith("Error") and "." not in name)
            yield from [call.lineno] if own else []


def fits(message, text):
    """Whether a message is what a text says: its words between fields and what is not always said, in their order."""
    place = 0
    for words in re.split(r"‹[^›]*›|\[[^\]]*\]", text):
        place = message.find(words, place)
        if place < 0:
            return False
        place += len(words)
    return True


def test_nothing_is_unread():
    assert FOUND.unread == []


def test_every_error_and_warning_is_on_the_page():
    for name, tree in PARSED.items():
        read = {line for place, line in FOUND.places if place == name}
        missing = set(spoken(tree)) - read
        assert not missing or name in DECLARED, f"{name}: {sorted(missing)}"


REFUSE = ("Reason", "freeze", "freeze_dims", "sum_over", "unify", "normalises", "_freeze", "_freeze_all", "ask")


def test_every_refusal_is_on_the_page():
    told = " ".join(f"{site.text} {site.advice}" for site in FOUND.found if site.kind == "Reason")
    seen = 0
    for name, tree in PARSED.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) in REFUSE:
                for part in (part for one in node.args for part in ast.walk(one)):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.count(" ") > 2:
                        assert part.value.strip() in told, f"{name}:{part.lineno}: {part.value}"
                        seen += 1
    assert seen > 70


def test_there_are_as_many_as_somebody_counts():
    kinds = [site.kind for site in FOUND.found]
    assert kinds.count("Reason") > 90 and kinds.count("LzeroWarning") > 12 and len(kinds) > 650


def test_the_page_is_as_the_code_is():
    assert MARK in TEXT and written(TEXT, FOUND) == TEXT, "run python docs/catalogue"


def test_what_is_declared_is_there():
    stale = {*PASSED_ON, *UNMET, *FOLLOWED} - FOUND.used
    assert not stale
    told = {(site.path, site.inside) for site in FOUND.found}
    assert TOLD_HERE.keys() <= told and FILES.keys() <= {site.path for site in FOUND.found}
    reasons = [site.text for site in FOUND.found if site.kind == "Reason" and not site.advice]
    assert [begin for begin in NOTHING if not any(text.startswith(begin) for text in reasons)] == []
    places = [place for topic in (*TOPICS, *REASONS) for place in topic.places]
    assert [place for place in places if not any(path.startswith(place) for path in PARSED)] == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: is b; pass c", ("a: is b", "pass c")),
        ("a: is b (x; pass d). Take c", ("a: is b (x; pass d)", "Take c")),
        ("no x is called 'a'; there are: b, c", ("no x is called 'a'", "there are: b, c")),
        ("a: is b", ("a: is b", "")),
        ("a: is b; it was c", ("a: is b; it was c", "")),
        ("it ended; purge() settles it", ("it ended; purge() settles it", "")),
    ],
)
def test_a_message_is_split_into_what_is_and_what_to_do(text, parts):
    assert split(text) == parts


def test_messages_that_say_what_they_expect_are_told_by_argument():
    by_text = {site.text: site for site in FOUND.found}
    site = by_text["below: expected a probability in [0, 1/2), found ‹value›"]
    assert expectation(site) == ("below", "a probability in [0, 1/2)") and site.kind == "StructureError"
    assert site.path in ("lzero/compact.py", "lzero/compaction.py")


BLOCKS = re.findall(r"^## (.*?)\n(.*?)(?=^## )", TEXT.partition(MARK)[0] + "\n## ", re.DOTALL | re.MULTILINE)


def test_the_ten_troubles_come_and_go_as_told():
    names, met = {}, []
    torch.manual_seed(0)
    (start,) = re.findall(r"```python\n(.*?)```", TEXT.partition("\n## ")[0], re.DOTALL)
    exec(compile(start, PAGE.name, "exec"), names)
    texts = [site.text for site in FOUND.found if site.kind != "Reason" and len(re.sub("‹[^›]*›", "", site.text)) > 20]
    for title, body in BLOCKS:
        names.pop("message", None)
        for block in re.findall(r"```python\n(.*?)```", body, re.DOTALL):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(block, f"{PAGE.name}, {title}", "exec"), names)
        quoted = " ".join(re.findall(r"^> (.*)$", body, re.MULTILINE))
        assert bool(quoted) == ("message" in names), title
        if quoted:
            met.append(title)
            assert quoted in " ".join(names["message"].split()), (title, names["message"])
            if "left ungated" not in names["message"]:  # which is a plan
                assert any(fits(names["message"], text) for text in texts), names["message"]
    assert len(BLOCKS) == 10 and len(met) == 9


def test_every_link_leads_somewhere():
    heads = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^##+ (.*)$", TEXT, re.MULTILINE)
    }
    for place in re.findall(r"(?<!`)\]\(([^)\s]+)\)", TEXT.partition(MARK)[0]):
        assert place[1:] in heads if place.startswith("#") else (Path(PAGE).parent / place).exists(), place

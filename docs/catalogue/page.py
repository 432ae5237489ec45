"""The page: messages by what somebody was doing, each with its cause and way out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

from catalogue.known import TOLD_HERE
from catalogue.refusals import NOTHING, REASONS
from catalogue.sites import ANY, Site, Sites
from catalogue.topics import FILES, TOPICS, Topic, topic_of
from catalogue.tree import ROOT

_VERBS = {
    "add",
    "ask",
    "attach",
    "begin",
    "bind",
    "build",
    "call",
    "change",
    "check",
    "choose",
    "compact",
    "continue",
    "convert",
    "count",
    "cut",
    "delete",
    "detach",
    "do",
    "draw",
    "evaluate",
    "fold",
    "free",
    "freeze",
    "gate",
    "give",
    "go",
    "ignore",
    "install",
    "keep",
    "leave",
    "let",
    "load",
    "look",
    "lower",
    "make",
    "mark",
    "measure",
    "mend",
    "move",
    "name",
    "only",
    "pass",
    "pick",
    "pin",
    "put",
    "purge",
    "raise",
    "record",
    "reduce",
    "register",
    "remove",
    "rename",
    "replace",
    "resume",
    "return",
    "run",
    "save",
    "see",
    "set",
    "shard",
    "split",
    "start",
    "step",
    "stop",
    "take",
    "train",
    "turn",
    "try",
    "use",
    "wait",
    "weigh",
    "wrap",
    "write",
}
_BETWEEN = re.compile(r"(?:; (?:or |else |and )?|[.?] |: |, (?=expected ))(?:[Tt]o \w+, )?")
_CHOICES = re.compile(r"(?:there|the [a-z ]+|its [a-z ]+) are\b|it (?:has|takes)\b|did you mean")


def split(text: str) -> tuple[str, str]:
    """A message in two: what is the matter, and what to do; that is empty where it says nothing of it."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter in "([‹") - (letter in ")]›")
        found = _BETWEEN.match(text, place)
        if depth or not found:
            continue
        rest = text[found.end() :]
        word = re.match(r"([A-Za-z]+)(?![\w(])", rest)
        begins = word is not None and (word[1].lower() in _VERBS or (word[1] == "expected" and found[0] != ": "))
        if begins and (found[0] != ": " or len(text[:place].split()) > 2):
            return text[:place], text[place:].lstrip(";:,.? ") if "o " in found[0] else rest
        if found[0].startswith(";") and _CHOICES.match(rest):
            return text[:place], rest
    return text, ""


_EXPECTED = re.compile(r"^(?:(?P<of>.*?): )?expected (?P<what>.*?)(?:,? found .*)?$")
_OP = re.compile(r" ?\(‹op›.*?\)$")


def entries(sites: Sites) -> str:
    """The generated part of the page.

    Raises:
        LookupError: a message has no topic, or no way out.
    """
    errors = [site for site in sites.found if site.kind != "Reason"]
    parts = [_classes()]
    for topic in TOPICS:
        own = [site for site in errors if topic_of(site.path, TOPICS) is topic]
        parts.append(f"## {topic.title}\n\n{topic.lead}\n\n{_by_class(own)}")
    parts.append(
        "## What a plan leaves out\n\n"
        "`print(lzero.discover(model, inputs))` says of each place that stays whole why it does, and what would change "
        "it. None of these is an error: the rest is gated, and what is refused costs gates, never correctness. "
        "Where all is refused, `attach_gates` raises the plan itself.\n\n"
        + "\n".join(_reasons(topic, [s for s in sites.found if s.kind == "Reason"]) for topic in REASONS)
    )
    return "\n".join(parts)


def way_out(site: Site) -> tuple[str, str]:
    """What a message says, and what to do.

    Raises:
        LookupError: it says nothing of what to do.
    """
    said, cure = split(site.text.replace("\n", " "))
    said = f"‹class of model›{said}" if said.startswith(": ") else said
    cure = cure or TOLD_HERE.get((site.path, site.inside), "")
    if not cure:
        raise LookupError(
            f"{site.path}:{site.line}: {site.text!r} has no way out; let the message end in what to do "
            '("...; pass ..."), or say what was expected and found'
        )
    return said, cure


def expectation(site: Site) -> tuple[str, str] | None:
    """The argument and what it has to be, of a message that says what was expected and found, and no more."""
    found = _EXPECTED.match(site.text)
    if found is None or ("; " in site.text and split(site.text)[1] and site.path not in FILES):
        return None
    return found["of"] or site.inside.partition(".")[0], found["what"].split("; ")[0]


def _classes() -> str:
    rows = [
        "## All messages",
        "",
        "Every error of the library is an `LzeroError`, and names the place, the reason and the way out. "
        "These are all of them, read from the code: ‹words in such brackets› are another thing each time, and what "
        "stands in [square ones] is not always said. Those that only say what was `expected` and `found` are listed by "
        "argument.",
        "",
    ]
    for path in ("lzero/errors.py", "lzero_lab/errors.py"):
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                above = " and ".join(f"`{base.id}`" for base in node.bases if isinstance(base, ast.Name))
                rows.append(f"- `{node.name}`, {above}: {(ast.get_docstring(node) or '').splitlines()[0]}")
    return "\n".join(rows) + "\n"


def _by_class(sites: Sequence[Site]) -> str:
    parts = []
    for kind in sorted({site.kind for site in sites}, key=lambda kind: (not kind.endswith("Warning"), kind)):
        own = [site for site in sites if site.kind == kind]
        told = [site for site in own if expectation(site) is None]
        rows = dict.fromkeys((code(said), plain(cure)) for said, cure in map(way_out, told))
        name = _KINDS.get(kind, f"`{kind}`")
        if rows:
            parts.append(_table(f"{name}: what it says, and why", "what to do", rows))
        pairs = [(expectation(site), site) for site in own]
        plainly = dict.fromkeys((code(p[0]) if p[0] else "", code(p[1])) for p, s in pairs if p and s.path not in FILES)
        if plainly:
            parts.append(_table(f"{name}: {'kind' if kind in _KINDS else 'argument'}", "expected", plainly))
        for title in dict.fromkeys(FILES[s.path] for p, s in pairs if p and s.path in FILES):
            here = [p for p, s in pairs if p and FILES.get(s.path) == title]
            kinds = {what: dict.fromkeys(p[0] for p in here if p[1] == what) for _, what in here}
            lines = {(code(what), ", ".join(code(of) for of in names)): None for what, names in kinds.items()}
            parts.append(_table(f"{name}: expected", title, lines))
    return "\n".join(parts)


def _reasons(topic: Topic, sites: Sequence[Site]) -> str:
    advices: dict[str, list[str]] = {}
    for site in sites:
        if topic_of(site.path, REASONS) is topic:
            text = _ANY if site.text == ANY else code(_OP.sub("", site.text))
            advice = site.advice or nothing(site)
            advices.setdefault(text, []).append("what that reason advises" if advice[0] == "‹" else plain(advice))
    told = sorted(advices, key=lambda text: text == _ANY)
    rows = [(text, "<br>or: ".join(dict.fromkeys(advices[text]))) for text in told]
    return f"### {topic.title}\n\n{topic.lead}\n\n{_table('the plan says', 'what to change', rows)}"


_ANY = "any of these"


def nothing(site: Site) -> str:
    """What a reason without advice means for the model.

    Raises:
        LookupError: nothing is said of it.
    """
    fitting = [begin for begin in NOTHING if site.text.startswith(begin)]
    if not fitting:
        raise LookupError(f"{site.path}:{site.line}: {site.text!r} has no advice; give it one, or say so in NOTHING")
    return NOTHING[max(fitting, key=len)]


_KINDS = {"usage": "options that do not go together", "ArgumentTypeError": "an option"}


def _table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> str:
    """A table of two columns; rows that follow each other with the same right side become one."""
    merged: list[tuple[str, str]] = []
    for one, other in rows:
        if merged and merged[-1][1] == other:
            merged[-1] = f"{merged[-1][0]}<br>{one}", other
        else:
            merged.append((one, other))
    return "\n".join([f"| {left} | {right} |", "|---|---|", *(f"| {a} | {b} |" for a, b in merged), ""])


def code(text: str) -> str:
    """Words as they are, for a cell of a table."""
    fence = "``" if "`" in text else "`"
    space = " " if "`" in text else ""
    return f"{fence}{space}{text.strip()}{space}{fence}".replace("|", "\\|") if text.strip() else ""


_CALL = r"[\w.‹›]*\w›?\((?:[^()]|\([^()]*\))*\)(?:\.\w+(?:\([^()]*\))?)*"
_VALUE = rf"\[[^\]]*\]|\{{[^}}]*\}}|\"[^\"]*\"|‹\w+›|{_CALL}|[\w.]*\w(?:-\d)?"
_CODE = re.compile(
    rf"`[^`]+`|--[\w-]+(?: [\d,]+)?|pip install .*$|{_CALL}|\w+=(?:{_VALUE})?|"
    r"[a-zA-Z][\w-]*\.[A-Za-z_]\w[\w.]*(?<!\.)(?:\[\d\])?|'[\w.-]+'|[a-z]+(?:_[a-z0-9]+)+|"
    r"[\w‹›]+\.__\w+__|\"[^\"]+\"|\{[^}]+\}|\[[^\]]+\.\.\.\]"
)


def plain(text: str) -> str:
    """A sentence for a cell of a table, its code marked as such."""
    made, end = "", 0
    for found in _CODE.finditer(text):
        made += _escaped(text[end : found.start()]) + code(found.group().strip("`"))
        end = found.end()
    return made + _escaped(text[end:])


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|$])", r"\\\1", text)

"""The site is built without a warning, and every link within it leads somewhere."""

import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from public import PUBLIC

ROOT = Path(__file__).parent.parent
pytest.importorskip("sphinx", reason="the extra docs is not installed")


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.ids, self.titles = [], [], set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        self.titles += tag == "h1"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in ("img", "script", "source", "iframe") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.loads.append(given["href"])


def command():
    """What `make docs` runs, without its output folder."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.search(r"^\t\$\(BIN\)/(sphinx-build .*) build/docs$", text, re.MULTILINE)[1].split()[1:]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, as a folder."""
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", *command(), str(out)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def found(site):
    """Path -> page, of all of the site."""
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_warnings_are_errors():
    assert {"-W", "--keep-going"} <= set(command())
    assert "nitpicky = True" in (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")


def test_every_link_and_anchor_leads_somewhere(site, found):
    broken = defaultdict(list)
    for path, page in found.items():
        for link in {*page.links, *page.loads}:
            if urlsplit(link).scheme:
                continue
            place, anchor = urldefrag(link)
            target = (path.parent / unquote(urlsplit(place).path)).resolve() if place else path
            if (
                not target.is_file()
                or not target.is_relative_to(site.resolve())
                or (anchor and target in found and unquote(anchor) not in found[target].ids)
            ):
                broken[str(path.relative_to(site.resolve()))].append(link)
    assert not broken
    assert len(found) > 40


def test_it_opens_from_a_disk_without_a_network(site, found):
    for path, page in found.items():
        away = [place for place in page.loads if urlsplit(place).scheme not in ("", "data") or place.startswith("//")]
        assert not away, path
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_every_page_of_the_documentation_is_on_it(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT).with_suffix(".html")).is_file()


def test_every_public_name_is_in_the_reference(site):
    from sphinx.util.inventory import InventoryFile

    names = set()
    with (site / "objects.inv").open("rb") as file:
        for domain, entries in InventoryFile.load(file, "", lambda base, end: end).items():
            names |= set(entries) if domain.startswith("py:") else set()
    same = {"lzero.gates.HardConcrete": "lzero.HardConcrete", "lzero.gates.Gates": "lzero.Gates"}
    same |= {f"lzero.solver.{name}": f"lzero.{name}" for name in ("Solver", "Descent", "Penalty")}
    missing = [name for name, public in PUBLIC.items() if public.inside is None and same.get(name, name) not in names]
    assert not missing


def test_every_command_has_a_section(found, site):
    from lzero_lab.cli.main import command_parsers

    page = found[(site / "docs" / "api" / "command-line.html").resolve()]
    assert {f"lzero-{name}" for name in command_parsers()} <= page.ids

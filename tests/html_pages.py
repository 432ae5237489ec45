"""What a browser would find in a page: its text, and whether it is whole, closed to scripts, and readable aloud."""

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """A parsed page: tags with their attributes, and the text that one reads, one piece an element."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.pieces, self.open, self.wrong = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if "style" not in self.open and data.strip():
            self.pieces.append(" ".join(data.replace("\u202f", " ").split()))

    @property
    def text(self):
        return " ".join(self.pieces)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def checked(text):
    """The page, which is well-formed, needs nothing from outside, runs nothing, and is accessible."""
    page = Page(text)
    assert not page.wrong and not page.open
    assert not page.all("script") and not page.all("iframe") and not page.all("link")
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, attrs)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"https?://", text)

    named = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(named) == len(set(named))
    assert {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs} <= set(named)
    used = re.findall(r"url\(#([^)]+)\)", text) + [a["href"][1:] for a in page.all("use") + page.all("a")]
    assert set(used) <= set(named)
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in page.all("svg"))
    assert len(page.all("h1")) == 1 and page.all("html") == [{"lang": "en"}]
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert all(b <= a + 1 for a, b in pairwise(headings))
    defined = set(re.findall(r"--([a-z0-9-]+):", style))
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", text)) <= defined
    assert len(text.encode()) < 2_000_000
    return page

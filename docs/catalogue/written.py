"""docs/wrong.md: a beginning by hand, and all messages as the code has them."""

from __future__ import annotations

from pathlib import Path

from catalogue.known import FOLLOWED, PASSED_ON, UNMET
from catalogue.page import entries
from catalogue.sites import Sites
from catalogue.source import Package

PAGE = Path(__file__).parent.parent / "wrong.md"
MARK = "<!-- From here on the page is read from the code: python docs/catalogue -->\n\n"


def sites() -> Sites:
    """All messages of lzero and lzero_lab."""
    return Sites(Package("lzero", "lzero_lab"), PASSED_ON, UNMET, FOLLOWED)


def written(page: str, found: Sites) -> str:
    """The page with ``found``, its beginning left as it is."""
    return page.partition(MARK)[0] + MARK + entries(found)

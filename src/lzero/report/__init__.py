"""One training as one page of HTML that opens from the disk: what was asked, what is shipped, and how it came there."""

from lzero.report.content import Content, Timing, listed, named
from lzero.report.page import render, write

__all__ = ["Content", "Timing", "listed", "named", "render", "write"]

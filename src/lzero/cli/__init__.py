"""The command line ``lzero``."""

from lzero.cli.main import main

__all__ = ["main"]

"""The command line ``lzero``."""

from lzero_lab.cli.main import main

__all__ = ["main"]

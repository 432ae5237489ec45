"""Experiments, studies and the command line: what uses the library. Its packages are those of the extra ``lab``."""

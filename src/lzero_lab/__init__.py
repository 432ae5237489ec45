"""Experiments, studies and the command line: what uses the library. It needs the extra `lab`."""

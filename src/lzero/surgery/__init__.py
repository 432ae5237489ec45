"""Changing a module: gates put on and taken off, units cut out, and the sizes that follow them."""

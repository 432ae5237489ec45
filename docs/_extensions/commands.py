"""The directive ``commands``: every command of `lzero` with its options, as argparse has them."""

import argparse
from textwrap import dedent

from docutils import nodes
from docutils.parsers.rst import Directive

from lzero_lab.cli.main import command_parsers

PLAIN = argparse.HelpFormatter("lzero", width=88)


def named(action):
    """``--out DIR``: how an option or argument is written."""
    value = "" if action.nargs == 0 else PLAIN._format_args(action, PLAIN._get_default_metavar_for_optional(action))
    if not action.option_strings:
        return action.metavar or action.dest
    return " ".join([", ".join(action.option_strings), value]).strip()


def said(action):
    """The help of an option, with its default."""
    return PLAIN._expand_help(action) if action.help else ""


def options(actions):
    """A list of definitions."""
    found = nodes.definition_list()
    for action in actions:
        term = nodes.term("", "", nodes.literal("", named(action)))
        found += nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", said(action))))
    return found


class Commands(Directive):
    """A section a command: what it does, how it is called, and its options by group."""

    def run(self):
        document = self.state.document
        sections = []
        for name, parser in command_parsers().items():
            section = nodes.section(
                "", nodes.title("", f"lzero {name}"), ids=[f"lzero-{name}"], names=[f"lzero {name}"]
            )
            document.note_explicit_target(section)
            section += [nodes.paragraph("", text) for text in (parser.description, parser.epilog) if text]
            usage = dedent(parser.format_usage().replace("usage: ", " " * len("usage: "))).rstrip()
            section += nodes.literal_block(usage, usage, language="text")
            for group in parser._action_groups:
                actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
                if actions:
                    section += nodes.rubric("", group.title.capitalize())
                    section += options(actions)
            sections.append(section)
        return sections


def setup(app):
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

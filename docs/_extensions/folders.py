"""Links of Markdown to folders of the repository: no page of the site shows one, so that the words stay alone."""

from pathlib import Path


def plain(app, env, node, contnode):
    """The words of a link to a folder; None for any other link, which Sphinx goes on to look for."""
    if node.get("reftype") != "myst" or "#" in node["reftarget"]:
        return None
    place = Path(env.doc2path(node["refdoc"])).parent / node["reftarget"]
    return contnode if place.is_dir() else None


def setup(app):
    app.connect("missing-reference", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

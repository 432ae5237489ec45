"""Runs examples/story.ipynb from top to bottom, and writes it with its outputs.

    python figures/story.py

What is written differs from run to run by what is computed alone: no times of cells, no versions, no names of machines.
"""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

STORY = Path(__file__).parent.parent / "examples" / "story.ipynb"
ABOUT = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(book):
    """A copy of the notebook with the outputs of a fresh kernel, run in an empty folder; errors of cells are raised."""
    book = nbformat.from_dict(book)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=600, coalesce_streams=True, resources={"metadata": {"path": folder}}).execute()
    return book


def bare(book):
    """The notebook without what hangs on when and where it ran."""
    book.metadata = nbformat.from_dict(ABOUT)
    for cell in book.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            output.pop("metadata", None) if output.output_type == "stream" else output.update(metadata={})
    return book


def write(book, path=STORY):
    """Put the notebook at ``path``, a line for each line of its cells."""
    path.write_text(nbformat.writes(book) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(bare(executed(nbformat.read(STORY, as_version=4))))

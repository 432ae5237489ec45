"""Commands of the command line that take a second, and what they leave."""

FAST = ["--epochs", "2", "--batch-size", "256", "--quiet"]
TRAIN = ["train", "--target", "0.3", *FAST]
RUN_FILES = {
    "config.json",
    "rows.csv",
    "checkpoint.pt",
    "model.safetensors",
    "lzero.json",
    "certificate.json",
    "architecture.csv",
    "summary.json",
}


def names(folder):
    return {path.name for path in folder.iterdir()}


def error_line(capsys):
    """The one line on standard error of the test that has the fixture ``capsys``."""
    (line,) = capsys.readouterr().err.splitlines()
    return line

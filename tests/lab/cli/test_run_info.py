"""`lzero info RUN`: layer by layer before and after, file sizes and times of a finished run."""

import re
import shutil

import pytest
from commands import error_line

from lzero_lab.cli import main


def test_info_of_a_finished_run_counts_what_was_shipped(trained, capsys):
    assert main(["info", str(trained)]) == 0
    said = capsys.readouterr().out
    count = r" ([\d,]+) -> +([\d,]+) +[\d.]+%"
    rows = re.findall(rf"^fc(\d) .*?{count} +[\d,]+ -> +[\d,]+ +[\d.]+%$", said, re.MULTILINE)
    before, after = (sum(int(row[i].replace(",", "")) for row in rows) for i in (1, 2))
    (asked,) = re.findall(r"parameters: ([\d,]+) of 50,610", said)
    assert len(rows) == 3 and before == 50_610 and after == int(asked.replace(",", ""))
    sizes = [int(size.replace(",", "")) for size in re.findall(r"([\d,]+) bytes", said)]
    assert sizes[0] > 4 * 50_610 > sizes[1] > 4 * after
    assert "threads" in said or "1 thread" in said
    times = re.findall(r"batch +(\d+): ([\d.]+) ms -> ([\d.]+) ms", said)
    assert [time[0] for time in times] == ["1", "32"]
    assert all(float(value) > 0 for time in times for value in time[1:])
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize(
    ("lost", "message"),
    [("summary.json", "the run is not finished; continue it with --resume"), ("config.json", "name a run folder")],
)
def test_a_folder_without_a_finished_run_is_one_line(lost, message, trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / lost).unlink()
    assert main(["info", str(folder)]) == 1
    assert message in error_line(capsys)

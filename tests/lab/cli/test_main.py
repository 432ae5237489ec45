"""The entry of the command line: usage, help, and one line for whatever goes wrong."""

import errno
import re

import pytest
import torch
from commands import TRAIN, error_line

from lzero_lab.cli import main, train


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["prune"], "invalid choice: 'prune'"),
        (["train", "--target", "1.5"], "expected a density in (0, 1], such as 0.1 for a tenth, found 1.5"),
        (["train", "--target", "nan"], "expected a density in (0, 1]"),
        (["train", "--target", "tenth"], "invalid density value: 'tenth'"),
        (["train", "--epochs", "0"], "expected a number above 0, found 0"),
        (["train", "--threads", str(10**11)], "expected at most 1,024, found 100000000000"),
        (["train", "--lr", "1e300"], "expected at most 1e+30, found 1e300"),
        (["study", "mnist", "--workers", "2000"], "expected at most 1,024, found 2000"),
        (["train", "--batch-size", str(10**30)], "argument --batch-size: expected at most 9,223,372,036,854,775,807"),
        (["train", "--out", "a\0b"], "argument --out: expected the name of a file or folder, found 'a\\x00b'"),
        (["train", "--out", ""], "expected the name of a file or folder, found ''"),
        (["plot", "a\0b"], "expected the name of a file or folder"),
        (["purge", "x" * 5000], "File name too long; name another place"),
        (["train", "--data-dir", "\ud800"], "surrogates not allowed; name another place"),
        (["train", "--model", "wrn-" + "9" * 5000 + "-1"], "or wrn-<depth>-<width>, such as wrn-28-10, found"),
        (["train", "--epochs", "many"], "invalid int value: 'many'"),
        (["train", "--lr", "inf"], "expected a number above 0, found inf"),
        (["train", "--scope", "fc1"], "expected model, layer or \"name=0.3,name=0.5\", found 'fc1'"),
        (
            ["train", "--scope", "fc1=2"],
            "argument --scope: expected a density in (0, 1], such as 0.1 for a tenth, found 2",
        ),
        (["train", "--scope", "fc1=0.3", "--target", "0.5"], "leave out --target"),
        (["train", "--scope", "layer", "--dense"], "--scope is for a target"),
        (["train", "--also", "macs=0.5", "--dense"], "--also is for what has a target"),
        (["train", "--also", "macs=0.5", "macs=0.4"], "--also: a measure is named twice; give each one density"),
        (["train", "--also", "params=0.5"], "--also params: the target counts that already"),
        (["train", "--target", "0.5", "--dense"], "not allowed with argument --target"),
        (["train", "--device", "toaster"], "expected cpu or cuda, found 'toaster'"),
        (["train", "--device", "mps"], "expected cpu or cuda, found 'mps'"),
        (["train", "--device", "cuda:99"], "cuda:99: PyTorch sees no such GPU here; use --device cpu"),
        (["train", "--seed", str(2**64)], "expected a seed from -2^63 to 2^64 - 1, found 18446744073709551616"),
        (["train", "--seed", "x"], "argument --seed: invalid seed value: 'x'"),
        (["sweep", "--seed", "0", str(-(2**63) - 1)], "expected a seed from -2^63"),
        (["study", "mnist", "--seeds", str(2**64)], "expected a seed from -2^63"),
        (["compare", "--tolerance", "1"], "expected a distance in (0, 1), such as 0.01 for one point, found 1"),
        (["compare", "--tolerance", "0"], "expected a distance in (0, 1)"),
        (["compare", "--grid", "-1"], "expected a number above 0, found -1"),
        (["plot"], "the following arguments are required: source"),
        (["info", "--input", "1,8"], "--input is for a package.module:function"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: lzero")
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize("command", ["train", "compare", "sweep", "plot", "watch", "purge", "report", "info"])
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: lzero {command}")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([*TRAIN, "--out", str(tmp_path / "file" / "run")]) == 1
    assert error_line(capsys).startswith("lzero: error: ")


@pytest.mark.parametrize(
    "command", [["train", "--out"], ["train", "--data-dir"], ["plot"], ["purge"], ["study", "mnist", "--out"]]
)
def test_a_loop_of_links_is_wrong_usage(command, tmp_path, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert main([*command, str(tmp_path / "loop")]) == 2
    assert "loop': Too many levels of symbolic links; name another place" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (MemoryError("12 bytes"), 1, "no memory left: 12 bytes; a smaller --model, --batch-size or fewer --workers"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "no memory left: DefaultCPUAllocator"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "no memory left: CUDA out of memory"),
        (SystemExit(3), 2, "code of the model called sys.exit(3); take that out"),
        (OSError(errno.EMFILE, "Too many open files", "a.csv"), 1, "a.csv: Too many open files; check the path"),
        (
            OSError(errno.ENOSPC, "No space left", "a.pt"),
            1,
            "No space left; .*; finished epochs are saved; continue with: ",
        ),
    ],
)
def test_what_ends_a_command_is_one_line(problem, code, words, monkeypatch, capsys):
    def fails(_):
        raise problem

    monkeypatch.setattr(train, "_recipe", fails)
    assert main(TRAIN) == code
    assert re.fullmatch(f"lzero: error: .*{words if '.*' in words else re.escape(words)}.*", error_line(capsys))


@pytest.mark.parametrize("command", [["sweep"], ["compare"], ["study", "mnist"], ["info"]], ids=lambda words: words[0])
def test_all_but_a_training_is_refused_under_torchrun_and_said_once(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = f"lzero: error: lzero {command[0]} runs in one process, and torchrun has started 2: leave torchrun out;"
    for rank, words in (("0", said), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.startswith(words) and len(error.splitlines()) == bool(words)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["info"]) == 0


def test_a_process_that_has_lost_another_says_how_to_go_on(monkeypatch, capsys):
    def fails(_):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    monkeypatch.setattr(train, "_recipe", fails)
    assert main(TRAIN) == 1
    line = error_line(capsys)
    assert line.startswith("lzero: error: another process of this training has ended, or is not heard of; finished ")
    assert line.endswith("continue with: lzero train --target 0.3 --epochs 2 --batch-size 256 --quiet --resume")


def test_an_error_of_the_program_itself_is_none_of_these(monkeypatch):
    def fails(_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(train, "_recipe", fails)
    with pytest.raises(RuntimeError, match="a fault"):
        main(TRAIN)

"""Standard output that cannot be written is an error like others, of every verb."""

from __future__ import annotations

import subprocess
import sys

import pytest


def zoovet(arguments: list[str], redirection: str, *, unbuffered: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does, which redirects."""
    command = f'PYTHONUNBUFFERED={"1" if unbuffered else ""} "$0" -m zoovet "$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("arguments", [["--help"], ["scan", "--help"], ["--version"]])
def test_a_full_disk_under_standard_output_is_one_line(arguments: list[str], unbuffered: bool) -> None:
    done = zoovet(arguments, "> /dev/full", unbuffered=unbuffered)
    assert (done.returncode, done.stderr) == (2, "error: cannot write to standard output: No space left on device\n")


def test_standard_error_that_is_full_too_leaves_the_status() -> None:
    assert zoovet(["--help"], "> /dev/full 2> /dev/full").returncode == 2
    assert zoovet(["biuld"], "2> /dev/full").returncode == 2


def test_a_reader_that_has_gone_and_no_standard_output_at_all_need_no_word() -> None:
    assert zoovet(["--help"], "| true; exit ${PIPESTATUS[0]}").stderr == ""
    done = zoovet(["--version"], ">&-")
    assert (done.returncode, done.stderr) == (0, "")

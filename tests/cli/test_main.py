"""The entry point: verbs, exit statuses, and errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import zoovet
from zoovet.cli import build
from zoovet.cli.main import VERBS, main
from zoovet.errors import ZoovetError


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_without_a_verb_the_help_is_shown_and_nothing_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: zoovet VERB" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zoovet {zoovet.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_worth_reading(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"zoovet {verb} " in shown
    assert f"  zoovet {verb} " in shown, "an example"
    assert "Write" in shown, "what it writes"
    assert "\nTime: " in shown, "how long it takes"


def test_help_waits_for_no_lightning() -> None:
    code = (
        "import sys; from zoovet.cli.main import main\n"
        "assert [main([verb, '--help']) for verb in ('train', 'bench', 'demo')] == [0, 0, 0]\n"
        "assert 'lightning' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)


def test_the_help_lists_the_keys_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--num_bases: an integer; default 500\n      Bases; the zoo has twice as many networks." in shown
    assert "--finetune.poison_rate: a list of 2 (a number, a number); default " in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["biuld"], "error: there is no verb 'biuld'; did you mean 'build'? See zoovet --help."),
        (["build"], "error: the following arguments are required: CONFIG, --out. See zoovet build --help."),
        (["build", "a.yaml", "--out"], "error: argument --out: expected one argument. See zoovet build --help."),
        (
            ["build", "a.yaml", "--out", "z", "--workers", "0"],
            "error: argument --workers: must be an integer of at least 1, got '0'. See zoovet build --help.",
        ),
        (
            ["build", "a.yaml", "--out", "z", "--seed", "-1"],
            "error: argument --seed: must be an integer from 0 to 2^63 - 1, got '-1'. See zoovet build --help.",
        ),
        (
            ["build", "a.yaml", "--out", "z", "--worker", "2"],
            "error: unknown option --worker; did you mean '--workers'? See zoovet build --help.",
        ),
        (
            ["build", "a.yaml", "--out", "z", "--num_bases"],
            "error: --num_bases is no option, and as a key of the configuration it needs a value",
        ),
        (
            ["build", "a.yaml", "--out", "z", "--seed=1", "--batch_size=1", "--batch_size=2"],
            "error: --batch_size is given twice",
        ),
        (
            ["build", "a.yaml", "b.yaml", "--out", "z"],
            "error: unrecognized arguments: b.yaml. See zoovet build --help.",
        ),
        (
            ["scan", "a", "--detecter", "d"],
            "error: unknown option --detecter; did you mean '--detector'? See zoovet scan --help.",
        ),
        (
            ["scan", "a", "--detector", "d", "--threshold", "2"],
            "error: argument --threshold: must be a number from 0 to 1, got '2'. See zoovet scan --help.",
        ),
    ],
)
def test_a_bad_command_line_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_options_and_overrides_come_in_any_order_and_form(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []
    monkeypatch.setattr(build, "run", lambda arguments: seen.append(arguments) or 0)
    assert (
        main(["build", "--num_bases", "3", "a.yaml", "--base.epochs=2", "--out=z", "--min_asr", "-1", "--seed", "4"])
        == 0
    )
    assert seen[0].overrides == {"num_bases": "3", "base.epochs": "2", "min_asr": "-1"}
    assert (seen[0].config, seen[0].out, seen[0].seed) == (Path("a.yaml"), Path("z"), 4)


def _raise(error: BaseException) -> Any:
    def run(arguments: argparse.Namespace) -> int:
        raise error

    return run


def test_bad_input_is_a_line_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "run", _raise(ZoovetError("the sky is too low")))
    assert main(["build", "a.yaml", "--out", "z"]) == 2
    assert capsys.readouterr().err == "error: the sky is too low\n"


def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "run", _raise(KeyboardInterrupt("2 whole shards kept")))
    assert main(["build", "a.yaml", "--out", "z"]) == 130
    assert capsys.readouterr().err == "interrupted: 2 whole shards kept\n"


def test_a_warning_is_a_line_as_an_error_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def run(arguments: Any) -> int:
        shown.extend(warnings.formatwarning("the sky is low", kind, "a.py", 1) for kind in (UserWarning, SyntaxWarning))
        return 0

    monkeypatch.setattr(build, "run", run)
    usual = warnings.formatwarning
    assert main(["build", "a.yaml", "--out", "z"]) == 0
    assert shown == ["warning: the sky is low\n", "a.py:1: SyntaxWarning: the sky is low\n"]
    assert warnings.formatwarning is usual


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "run", _raise(IndexError("ours")))
    with pytest.raises(IndexError, match="ours"):
        main(["build", "a.yaml", "--out", "z"])


def test_an_error_is_one_line_whatever_it_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: argparse.Namespace) -> int:
        shown.append(warnings.formatwarning("odd\x1b[2J\nwarning: forged", UserWarning, "a.py", 1))
        raise ZoovetError(f"a\x1b[2J\nerror: forged [red] caf\udce9 {'n' * 10**7}")

    shown: list[str] = []
    monkeypatch.setattr(build, "run", fail)
    assert main(["build", "a.yaml", "--out", "z"]) == 2
    assert shown == ["warning: odd\\x1b[2J\\nwarning: forged\n"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(r"error: a\x1b[2J\nerror: forged [red] caf\udce9 nnn")
    assert len(line) < 2100


def test_a_name_that_is_no_utf8_can_be_printed() -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(output):
        assert main(["--version"]) == 0
        output.write(os.fsdecode(b"caf\xe9\n"))
        output.flush()
        assert output.buffer.getvalue().endswith(b"caf\\udce9\n")  # type: ignore[attr-defined]

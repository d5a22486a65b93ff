"""What a training's bars say: inversion is a stage of its own, and whatever takes time says how long."""

from __future__ import annotations

import pickle

import pytest

from zoovet.cli.training_bar import training_bar, training_bars
from zoovet.tasks.training_config import InversionProgress, TrainingProgress


def test_inversion_has_a_line_of_its_own_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with training_bar(("auc",)) as bar:
        bar(InversionProgress(16, 256, 4.0))
        bar(InversionProgress(32, 256, 8.0))
        bar(InversionProgress(256, 256, 64.0))
        bar(TrainingProgress(1, 400, 1 / 400, 0.5, 0.69, None))
        bar(TrainingProgress(100, 400, 0.25, 30.0, 0.5, {"auc": 0.9, "loss": 0.4}))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "inverting  16/256 networks  1:00 left  4.0/s",
        "inverting  256/256 networks  0:00 left  4.0/s",
        "training  step 100/400  1:30 left  loss 0.5 auc 0.9",
    ]


def test_a_training_that_is_cut_short_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"auc": 0.6}
    with training_bar(("auc",)) as bar:
        bar(TrainingProgress(50, 400, 0.5, 45.0, 0.69, figures))
        bar(TrainingProgress(99, 400, 1.0, 90.0, 0.69, figures, ended="cut short: the time is up (max_minutes 1.5)"))
    assert capsys.readouterr().err.splitlines()[-1] == (
        "training  step 99/400  cut short: the time is up (max_minutes 1.5)  loss 0.69 auc 0.6"
    )


def test_a_validation_that_another_process_tells_of_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with training_bars({"detector": ("auc",), "repairer": ()}) as shows:
        for step in (1, 2, 3):
            shows["detector"](pickle.loads(pickle.dumps(TrainingProgress(step, 4, step / 4, 1.0, 0.5, {"auc": 0.9}))))
        shows["repairer"](TrainingProgress(1, 4, 0.25, 1.0, 2.0, None))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["detector: training", "repairer: training"]
    assert "auc 0.9" in lines[0]


def test_on_a_terminal_there_are_two_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with training_bar(()) as bar:
        bar(InversionProgress(8, 8, 2.0))
        bar(TrainingProgress(3, 3, 1.0, 1.0, 0.25, None))
    shown = capsys.readouterr().err
    assert "inverting" in shown
    assert "8/8 networks" in shown
    assert "step 3/3" in shown

"""Figures go to metrics.csv always, to the logger that was asked for besides, and nowhere else."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks import DetectionConfig, TrainingConfig, loggers, train_detector
from zoovet.tasks.loggers import require_logger
from zoovet.tasks.runs import open_run
from zoovet.zoo import Zoo

SCRIPT = """
import sys
from zoovet.errors import ZoovetError
from zoovet.metanets import ScaleGMNConfig
from zoovet.tasks import DetectionConfig, TrainingConfig, train_detector
from zoovet.zoo import Zoo

training = TrainingConfig(max_steps=4, validation_interval=2, batch_size=6, warmup_steps=2, logger="wandb")
config = DetectionConfig(metanetwork=ScaleGMNConfig(width=4, num_layers=1), training=training)
try:
    train_detector(config, Zoo.open(sys.argv[1]), sys.argv[2])
except ZoovetError as error:
    sys.exit(f"error: {error}")
"""
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the extra wandb is not installed")


def config_of(training: TrainingConfig) -> DetectionConfig:
    return DetectionConfig(metanetwork=ScaleGMNConfig(width=4, num_layers=1), training=training)


def names_in(folder: Path) -> set[str]:
    return {path.name.split(".")[0] for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "files"),
    [("tensorboard", {"metrics", "events"}), ("none", {"metrics"})],
)
def test_what_a_session_writes(
    zoo: Zoo, run_folder: Path, training: Callable[..., TrainingConfig], name: str, files: set[str]
) -> None:
    train_detector(config_of(training(logger=name)), zoo, run_folder)
    assert names_in(run_folder / "log" / "version_0") == files
    with (run_folder / "log" / "version_0" / "metrics.csv").open() as file:
        assert {"train/loss", "validation/auc"} <= set(csv.DictReader(file).fieldnames or ())


def test_tensorboard_reads_what_metrics_csv_holds_and_no_thread_writes_it(
    zoo: Zoo, run_folder: Path, training: Callable[..., TrainingConfig]
) -> None:
    writers: set[str] = set()

    def look(_: Any) -> None:
        writers.update(type(thread).__module__ for thread in threading.enumerate())

    train_detector(config_of(training(logger="tensorboard")), zoo, run_folder, progress=look)
    assert writers
    assert not any(name.startswith("tensorboard") for name in writers)
    folder = run_folder / "log" / "version_0"
    accumulator = EventAccumulator(str(folder)).Reload()
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train/loss", "validation/auc"):
        read = [(event.step, event.value) for event in accumulator.Scalars(name)]
        written = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        assert [step for step, _ in read] == [step for step, _ in written]
        assert [value for _, value in read] == pytest.approx([value for _, value in written], rel=1e-6)


def test_a_run_is_resumed_with_another_logger(
    zoo: Zoo, run_folder: Path, training: Callable[..., TrainingConfig]
) -> None:
    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_detector(config_of(training()), zoo, run_folder, progress=stop)
    train_detector(config_of(training(logger="none")), zoo, run_folder)
    assert names_in(run_folder / "log" / "version_1") == {"metrics"}
    with pytest.raises(ZoovetError, match=r"holds a finished run with another training\.seed: 0 there, 1 now"):
        open_run(run_folder, "detector", config_of(training(seed=1, logger="none")), {})


def test_an_unknown_logger_is_refused(training: Callable[..., TrainingConfig]) -> None:
    with pytest.raises(ZoovetError, match="logger 'tensorbord' is unknown; did you mean 'tensorboard'"):
        training(logger="tensorbord")


def test_a_logger_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(
        ZoovetError, match=r"wandb, which is not installed; install it with `pip install 'zoovet\[wandb]'`"
    ):
        require_logger("wandb")
    require_logger("tensorboard")
    require_logger("none")


class Listener:
    """Stands where the network would be, and counts who knocks."""

    def __init__(self) -> None:
        self.num_connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.num_connections += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


@pytest.fixture
def start(zoo: Zoo, run_folder: Path, tmp_path: Path, listener: Listener) -> Iterator[Callable[..., Any]]:
    """Start a training that logs to Weights & Biases, with the listener in the place of all servers."""
    started: list[subprocess.Popen[str]] = []

    def begin(script: str = SCRIPT, **variables: str) -> subprocess.Popen[str]:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WANDB_BASE_URL")
        outside = {spelling: listener.address for name in names for spelling in (name, name.lower())}
        kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(("WANDB", "NO_PROXY"))}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, str(zoo.path), str(run_folder)],
            env={**kept, **outside, "HOME": str(tmp_path), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@needs_wandb
@pytest.mark.slow
def test_weights_and_biases_offline(run_folder: Path, listener: Listener, start: Callable[..., Any]) -> None:
    process = start(WANDB_MODE="offline")
    shown = process.communicate(timeout=200)
    assert process.returncode == 0, shown
    assert shown == ("", "")
    assert listener.num_connections == 0
    folder = run_folder / "log" / "version_0"
    (written,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data = written.read_bytes()
    for name in (b"validation/auc", b"train/loss", b"max_steps", run_folder.name.encode()):
        assert name in data
    assert (folder / "metrics.csv").exists()
    assert not list(folder.glob("events.*"))


@needs_wandb
def test_weights_and_biases_online_would_have_been_seen(listener: Listener, start: Callable[..., Any]) -> None:
    start("import wandb; wandb.init()", WANDB_MODE="online", WANDB_API_KEY="0" * 40)
    until = time.monotonic() + 120
    while listener.num_connections == 0:
        assert time.monotonic() < until
        time.sleep(0.1)


@needs_wandb
@pytest.mark.slow
def test_without_a_login_the_remedies_are_named(run_folder: Path, start: Callable[..., Any]) -> None:
    process = start(WANDB_MODE="online")
    shown = process.communicate(timeout=200)
    assert process.returncode == 1
    assert shown[1].startswith("error: Weights & Biases cannot be started: ")
    assert "log in with `wandb login`, set WANDB_MODE=offline, or choose another logger" in shown[1]
    assert shown[1].count("\n") == 1

"""Runs survive interruptions bit for bit, keep the best checkpoint, and refuse folders of other runs."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from safetensors.torch import load_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.files import StorageError
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.random_streams import seeded_generator
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import TrainingConfig, TrainingProgress

Config = Callable[..., TrainingConfig]


class Regression(TaskModule):
    """A small regression on data drawn step by step; dropout uses torch's own randomness."""

    scores: tuple[float, ...] = ()
    loss_factor = 1.0

    def __init__(self, config: TrainingConfig) -> None:
        generator = seeded_generator(config.seed, "initial weights")
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 1))
        for parameter in model.parameters():
            nn.init.normal_(parameter, generator=generator)
        super().__init__(model, config)
        self.num_validations = 0

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        inputs = torch.randn(self.config.batch_size, 4, generator=seeded_generator(self.config.seed, "data", step))
        loss = (self.model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean() * self.loss_factor
        return loss, {"size": float(inputs.square().mean())}

    def validate(self, model: nn.Module) -> Validation:
        inputs = torch.linspace(-1, 1, 40).reshape(10, 4)
        error = float((model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean())
        score = self.scores[self.num_validations] if self.scores else -error
        self.num_validations += 1
        return Validation({"error": error}, (score,))

    def describe(self, validation: Validation) -> dict[str, Any]:
        return {"described": validation.figures["error"]}


class Interruption:
    """Collects progress, and raises once a step is reached."""

    def __init__(self, at_step: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.reports: list[TrainingProgress] = []
        self._at_step, self._error = at_step, error

    def __call__(self, progress: TrainingProgress) -> None:
        self.reports.append(progress)
        if progress.step == self._at_step:
            raise self._error

    @property
    def losses(self) -> dict[int, float]:
        return {report.step: report.loss for report in self.reports}


def run(
    folder: Path, config: TrainingConfig, progress: Interruption | None = None, module: Regression | None = None
) -> None:
    opened = open_run(folder, "detector", config, {"zoo": {"path": "somewhere", "num_train": 3}})
    if not opened.finished:
        train_run(opened, module or Regression(config), device="cpu", progress=progress)


def steps_of_session(folder: Path, session: int) -> list[int]:
    with (folder / "log" / f"version_{session}" / "metrics.csv").open() as file:
        return sorted({int(row["step"]) for row in csv.DictReader(file)})


@pytest.mark.parametrize("interrupted_at", [1, 3, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, training: Config, interrupted_at: int, error: type[BaseException]
) -> None:
    config, whole, rest = training(), Interruption(), Interruption()
    run(tmp_path / "whole", config, whole)
    with pytest.raises(error):
        run(tmp_path / "parts", config, Interruption(interrupted_at, error))
    torch.manual_seed(interrupted_at)
    run(tmp_path / "parts", config, rest)
    resumed_after = (interrupted_at - 1) // 2 * 2
    assert sorted(rest.losses) == list(range(resumed_after + 1, 7))
    assert rest.losses == {step: loss for step, loss in whole.losses.items() if step > resumed_after}
    assert rest.reports[-1].figures == whole.reports[-1].figures
    first, second = (load_checkpoint(tmp_path / name, "detector") for name in ("whole", "parts"))
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    times = {"seconds": 0}
    assert first.description | times == second.description | times


def test_ctrl_c_leaves_the_signal_as_it_was(tmp_path: Path, training: Config) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, training(), Interruption(3))
    assert signal.getsignal(signal.SIGINT) is before


def test_seeds_make_runs(tmp_path: Path, training: Config) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, training(seed=seed))
    a, b, c = (load_checkpoint(tmp_path / name, "detector").tensors for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)


def test_a_finished_run_is_left_alone(tmp_path: Path, training: Config) -> None:
    run(tmp_path, training())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run(tmp_path, training())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "resume.ckpt").exists()


def test_the_best_validation_is_kept(tmp_path: Path, training: Config) -> None:
    module = Regression(training())
    module.scores = (0.1, 0.7, 0.3)
    progress = Interruption()
    run(tmp_path, training(), progress, module)
    checkpoint = load_checkpoint(tmp_path, "detector")
    assert checkpoint.get("step") == 4
    figures = {report.step: report.figures for report in progress.reports}
    assert checkpoint.get("validation") == figures[4]
    assert checkpoint.get("described") == figures[4]["error"] != figures[6]["error"]


def test_the_average_is_what_is_kept(tmp_path: Path, training: Config) -> None:
    config = training(max_steps=2, average_decay=0.9)
    module = Regression(config)
    run(tmp_path, config, module=module)
    stored = load_file(tmp_path / "checkpoint.safetensors")
    assert module.average is not None
    assert all(torch.equal(stored[name], tensor) for name, tensor in module.average.module.state_dict().items())
    assert not any(torch.equal(stored[name], tensor) for name, tensor in module.model.state_dict().items())


def test_patience_ends_a_run_also_when_it_is_resumed(tmp_path: Path, training: Config) -> None:
    config, progress = training(max_steps=20, patience=2), Interruption()
    module = Regression(config)
    module.scores = (0.5, 0.4, 0.3)
    run(tmp_path, config, progress, module)
    assert progress.reports[-1].step == 6
    assert progress.reports[-1].fraction == 1.0
    assert progress.reports[-1].ended == "2 validations without improvement"
    assert progress.reports[-2].ended == ""
    assert load_checkpoint(tmp_path, "detector").get("step") == 2


def test_a_run_that_ended_before_it_could_say_so_is_not_trained_further(
    tmp_path: Path, training: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, progress = training(max_steps=20, patience=1), Interruption()
    module = Regression(config)
    module.scores = (0.5, 0.4)

    def crash(path: Path, data: dict[str, Any]) -> None:
        if data["finished"]:
            raise OSError("the power is gone")
        path.write_text(json.dumps(data))

    with monkeypatch.context() as patched:
        patched.setattr("zoovet.tasks.runs.write_json", crash)
        with pytest.raises(OSError, match="the power is gone"):
            run(tmp_path, config, None, module)
    run(tmp_path, config, progress)
    assert progress.reports == []
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["finished"]
    assert written["seconds"] > 0


def test_a_finished_run_says_how_long_it_took(tmp_path: Path, training: Config) -> None:
    progress = Interruption()
    run(tmp_path, training(), progress)
    seconds = json.loads((tmp_path / "run.json").read_text())["seconds"]
    assert seconds == pytest.approx(progress.reports[-1].seconds, abs=0.5)
    assert seconds >= progress.reports[-1].seconds - 1e-3


def test_time_ends_a_run_and_counts_earlier_sessions(
    tmp_path: Path, training: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 2))
    monkeypatch.setattr("zoovet.tasks.run_training.time.monotonic", lambda: float(next(clock)))
    config = training(max_steps=1000, max_minutes=2.0)
    first, second = Interruption(5), Interruption()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, config, first)
    assert 0 < first.reports[-1].fraction < 1
    run(tmp_path, config, second)
    assert second.reports[0].seconds > first.reports[-2].seconds / 2
    assert second.reports[-1].fraction == 1.0
    assert 120 <= second.reports[-1].seconds < 180
    assert second.reports[-1].step < 100
    assert second.reports[-1].ended == "cut short: the time is up (max_minutes 2)"
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["cut_short"] == {"steps": second.reports[-1].step, "max_steps": 1000, "max_minutes": 2.0}
    assert {report.ended for report in first.reports} == {""}


def test_what_happens_is_logged_session_by_session(tmp_path: Path, training: Config) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, training(), Interruption(3))
    run(tmp_path, training())
    assert steps_of_session(tmp_path, 0) == [1, 2, 3]
    assert steps_of_session(tmp_path, 1) == [3, 4, 5, 6]
    with (tmp_path / "log" / "version_1" / "metrics.csv").open() as file:
        assert {"train/loss", "train/size", "validation/error", "step"} <= set(csv.DictReader(file).fieldnames or ())
    assert list((tmp_path / "log" / "version_1").glob("events.out.tfevents*"))


def test_nothing_is_said_on_the_terminal(
    tmp_path: Path, training: Config, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, training())
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_one_training_a_folder(tmp_path: Path, training: Config) -> None:
    opened = open_run(tmp_path, "detector", training(), {})
    with pytest.raises(ZoovetError, match=rf"is being trained by process {os.getpid()} on .* wait for it to end"):
        open_run(tmp_path, "detector", training(), {})
    with pytest.raises(KeyboardInterrupt):
        train_run(opened, Regression(training()), device="cpu", progress=Interruption(3))
    train_run(open_run(tmp_path, "detector", training(), {}), Regression(training()), device="cpu", progress=None)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "run.json", "checkpoint.safetensors", "log"}


class Damage:
    """Progress that damages something once a step is reached."""

    def __init__(self, at_step: int, damage: Callable[[], object]) -> None:
        self._at_step, self._damage = at_step, damage

    def __call__(self, progress: TrainingProgress) -> None:
        if progress.step == self._at_step:
            self._damage()


def test_a_folder_that_vanishes_midway_is_one_line(tmp_path: Path, training: Config) -> None:
    folder = tmp_path / "run"
    opened = open_run(folder, "detector", training(), {})
    damage = Damage(3, lambda: shutil.rmtree(folder))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(StorageError, match=r"cannot go on in .*run: it was removed|cannot write into .*run: No such"):
        train_run(opened, Regression(training()), device="cpu", progress=damage)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("name", ["metrics.csv", "resume.ckpt"])
def test_a_disk_that_fills_is_one_line_and_the_run_goes_on_later(
    tmp_path: Path, training: Config, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    usual = io.open

    def full(file: Any, *arguments: Any, **options: Any) -> Any:
        mode = str(arguments[0] if arguments else options.get("mode", "r"))
        if name in str(file) and {"w", "a"} & set(mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        return usual(file, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", full)
        patched.setattr(io, "open", full)
        with pytest.raises(StorageError, match=r"cannot write .*: No space left on device"):
            run(tmp_path, training())
    run(tmp_path, training())
    assert json.loads((tmp_path / "run.json").read_text())["finished"]


def test_a_state_with_code_in_it_is_refused_and_never_run(tmp_path: Path, training: Config) -> None:
    trace = tmp_path / "trace"

    class Explosive:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trace,)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, training(), Interruption(3))
    torch.save({"state": Explosive()}, tmp_path / "resume.ckpt", pickle_module=pickle)
    with pytest.raises(ZoovetError, match=r"the state of the unfinished run, .*resume.ckpt, cannot be read"):
        run(tmp_path, training())
    assert not trace.exists()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, training: Config) -> None:
    module = Regression(training())
    module.loss_factor = math.inf
    with pytest.raises(ZoovetError, match=r"the loss of step 0 is inf; lower training.learning_rate"):
        run(tmp_path, training(), None, module)


@pytest.mark.parametrize(
    ("device", "message"),
    [("gpu", "the device 'gpu' is unknown"), ("meta", "the device 'meta' cannot train"), ("cuda:77", "is not there")],
)
def test_devices_that_cannot_train_are_refused(tmp_path: Path, training: Config, device: str, message: str) -> None:
    opened = open_run(tmp_path, "detector", training(), {})
    with pytest.raises(ZoovetError, match=message):
        train_run(opened, Regression(training()), device=device, progress=None)


def test_a_task_is_a_lightning_module(training: Config) -> None:
    assert isinstance(Regression(training()), LightningModule)

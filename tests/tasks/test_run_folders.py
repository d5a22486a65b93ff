"""Which folders a run goes on in, and which it refuses: another run's, a damaged one, one that cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from zoovet.config import read_yaml, write_config
from zoovet.errors import ZoovetError
from zoovet.tasks.run_training import train_run
from zoovet.tasks.runs import open_run
from zoovet.tasks.training import TaskModule, Validation
from zoovet.tasks.training_config import TrainingConfig

Config = Callable[..., TrainingConfig]


class OneNumber(TaskModule):
    """A training of one number towards zero."""

    def loss_at(self, step: int) -> tuple[Tensor, dict[str, float]]:
        return self.model(torch.ones(1, 1)).square().mean(), {}

    def validate(self, model: nn.Module) -> Validation:
        return Validation({"size": float(model(torch.ones(1, 1)).abs())}, (0.0,))

    def describe(self, validation: Validation) -> dict[str, Any]:
        return {}


def run(folder: Path, config: TrainingConfig) -> None:
    opened = open_run(folder, "detector", config, {"zoo": {"path": "somewhere", "num_train": 3}})
    if not opened.finished:
        train_run(opened, OneNumber(nn.Linear(1, 1, bias=False), config), device="cpu", progress=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.5}, "holds a finished run with another learning_rate: 0.001 there, 0.5 now"),
        ({"patience": 3}, "holds a finished run with another patience: None there, 3 now"),
    ],
)
def test_a_folder_with_a_run_of_another_configuration_is_refused(
    tmp_path: Path, training: Config, options: dict[str, Any], message: str
) -> None:
    run(tmp_path, training())
    with pytest.raises(ZoovetError, match=message):
        run(tmp_path, training(**options))


def test_a_folder_with_a_run_of_another_zoo_or_kind_is_refused(tmp_path: Path, training: Config) -> None:
    open_run(tmp_path, "detector", training(), {"zoo": {"path": "here", "num_train": 3}})
    open_run(tmp_path, "detector", training(), {"zoo": {"path": "moved", "num_train": 3}})
    with pytest.raises(ZoovetError, match=r"holds an unfinished run with another zoo.num_train: 3 there, 4 now"):
        open_run(tmp_path, "detector", training(), {"zoo": {"path": "here", "num_train": 4}})
    with pytest.raises(ZoovetError, match="with another kind: 'detector' there, 'repairer' now; give another --out"):
        open_run(tmp_path, "repairer", training(), {"zoo": {"path": "here", "num_train": 3}})


def test_a_run_of_a_version_with_fewer_settings_has_their_defaults(tmp_path: Path, training: Config) -> None:
    run(tmp_path, training())
    written = tmp_path / "config.yaml"
    values = read_yaml(written)
    del values["closing_share"], values["closing_factor"]
    written.write_text(yaml.safe_dump(values))
    before = written.stat().st_mtime_ns
    run(tmp_path, training())
    assert len(list((tmp_path / "log").iterdir())) == 1  # it was finished, and was not trained again
    assert written.stat().st_mtime_ns == before
    with pytest.raises(ZoovetError, match=r"with another closing_share: 0\.0 there, 0\.2 now"):
        run(tmp_path, training(closing_share=0.2))


def test_a_run_of_a_version_with_other_settings_is_refused(tmp_path: Path, training: Config) -> None:
    run(tmp_path, training())
    written = tmp_path / "config.yaml"
    written.write_text(yaml.safe_dump(read_yaml(written) | {"momentum": 0.9}))
    with pytest.raises(ZoovetError, match=r"with another momentum: 0\.9 there, None now"):
        run(tmp_path, training())


def test_a_damaged_folder_is_refused(tmp_path: Path, training: Config) -> None:
    damages = {
        '{"kind": "detector"': r"run\.json cannot be read as JSON: .*; give another --out",
        "[" * 900 + "]" * 900: r"run\.json cannot be read as JSON: .* deep in one another; give another --out",
        '{"kind": "detector"}': r"run\.json is damaged: the key 'finished' is missing; .*; give another --out",
        '{"finished": 1}': r"run\.json is damaged: 'finished' must be true or false, .*; give another --out",
    }
    for text, message in damages.items():
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ZoovetError, match=message):
            open_run(tmp_path, "detector", training(), {})


def test_an_unwritable_place_is_refused_before_anything_happens(tmp_path: Path, training: Config) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZoovetError, match=r"cannot write into .*file"):
        open_run(tmp_path / "file", "detector", training(), {})


def test_a_run_that_was_killed_in_its_first_moments_or_its_last_is_finished(tmp_path: Path, training: Config) -> None:
    write_config(training(), tmp_path / "config.yaml")  # and not yet run.json
    (tmp_path / ".run.json.abcdefgh.partial").touch()
    run(tmp_path, training())
    (tmp_path / "resume.ckpt").touch()  # run.json said that it is finished already
    run(tmp_path, training())
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "run.json", "checkpoint.safetensors", "log"}


def test_a_configuration_of_something_else_is_not_overwritten(tmp_path: Path, training: Config) -> None:
    write_config(training(seed=7), tmp_path / "config.yaml")
    with pytest.raises(ZoovetError, match=r"config\.yaml is there and of something else than this run"):
        run(tmp_path, training())

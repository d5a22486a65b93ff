"""A training that several processes share gives what one gives; whoever of them ends, one line says so."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.checkpoints import load_checkpoint
from zoovet.tasks.detection import train_detector
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.followers import Followers
from zoovet.tasks.training import TaskModule
from zoovet.tasks.training_config import TrainingConfig, TrainingProgress
from zoovet.zoo import Zoo

Config = Callable[..., TrainingConfig]


def train(zoo: Zoo, folder: Path, training: TrainingConfig, at: Callable[[int], None] = lambda _: None) -> list[float]:
    """Train a detector; gives the losses of all steps."""
    losses: dict[int, float] = {}

    def told(progress: TrainingProgress) -> None:
        if progress.step not in losses:
            losses[progress.step] = progress.loss
            at(progress.step)

    config = DetectionConfig(
        metanetwork=ScaleGMNConfig(width=8, num_layers=2),
        training=training,
        augmentation=AugmentationConfig(weight_noise=0.05, kernel_symmetries=True),
    )
    train_detector(config, zoo, folder, progress=told)
    return [losses[step] for step in sorted(losses)]


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    tensors = load_checkpoint(folder, "detector").tensors
    return {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}


@pytest.mark.slow
def test_two_processes_give_what_one_gives_and_a_killed_one_is_told(zoo: Zoo, training: Config, tmp_path: Path) -> None:
    alone = train(zoo, tmp_path / "one", training(batch_size=8))
    threads = torch.get_num_threads()
    together = train(zoo, tmp_path / "two", training(batch_size=8, processes=2))
    assert torch.get_num_threads() == threads
    assert len(alone) == 6
    assert together == pytest.approx(alone, rel=1e-5)
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-5) for name in one)
    assert not multiprocessing.active_children()

    def kill(step: int) -> None:
        if step == 3:
            (other,) = multiprocessing.active_children()
            other.kill()
            other.join()

    with pytest.raises(ZoovetError, match=r"was killed by SIGKILL.*; the same command resumes it"):
        train(zoo, tmp_path / "killed", training(batch_size=8, processes=2), kill)
    rest = train(zoo, tmp_path / "killed", training(batch_size=8))
    assert rest == pytest.approx(alone[2:], rel=1e-5), "from the last validation on, in this process alone"


def test_what_another_process_raises_is_raised_here(
    zoo: Zoo, training: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TaskModule.__getstate__
    monkeypatch.setattr(TaskModule, "__getstate__", lambda module: whole(module) | {"_task": None})
    with pytest.raises(AttributeError, match="augmentation") as caught:
        train(zoo, tmp_path, training(batch_size=8, processes=2))
    assert "in loss_at" in "".join(caught.value.__notes__)
    assert not multiprocessing.active_children()


def test_what_cannot_be_shared_is_refused(training: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZoovetError, match=r"processes must be at most batch_size \(4\), since .*, got 5"):
        training(batch_size=4, processes=5)
    with pytest.raises(ZoovetError, match="processes must be at least 1, got 0"):
        training(processes=0)
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    with pytest.raises(ZoovetError, match="where trainings run side by side"), Followers(2) as followers:
        followers.start(TaskModule.__new__(TaskModule))

"""What no repairer can be trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.tasks.repair import train_repairer
from zoovet.tasks.repair_config import RepairConfig
from zoovet.tasks.training_config import TrainingConfig
from zoovet.zoo import Zoo


def test_networks_whose_triggers_nobody_knows_are_refused(
    zoo: Zoo, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Zoo, "trigger", lambda *_: None)
    config = RepairConfig(
        metanetwork=ScaleGMNConfig(width=4, num_layers=1, output="weights", direction="forward"),
        training=TrainingConfig(max_steps=2, validation_interval=1, batch_size=4, warmup_steps=1),
        num_validation_images=30,
    )
    with pytest.raises(ZoovetError, match=r"for (\d+) of \1 trojaned networks, as imported zoos do not: give one that"):
        train_repairer(config, zoo, images, tmp_path / "run")
    assert not (tmp_path / "run").exists()

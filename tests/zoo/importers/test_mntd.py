"""MNTD's shadow and target networks: labels and splits follow from their files' names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, small_cnn
from zoovet.zoo.importers import ImportOptions, open_published

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(2,), num_classes=3)


def read(path: Path) -> Networks:
    return Networks.from_flat(GRAPH, torch.zeros(1, GRAPH.num_parameters))


def test_labels_splits_and_attacks_follow_from_names(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    names = [f"shadow_{kind}_{number}" for kind in ("benign", "jumbo") for number in range(18)]
    names += [f"target_{kind}_{number}" for kind in ("benign", "trojM", "trojB") for number in range(2)]
    for name in names:
        (tmp_path / "models" / f"{name}.model").touch()
    (tmp_path / "models" / "custom.model").touch()
    published = open_published("mntd", tmp_path, ImportOptions(read=read, dataset="mnist"))
    facts = published.facts.to_pylist()
    counts = Counter((row["split"], row["poisoned"], row.get("attack")) for row in facts)
    assert counts == {
        ("train", False, None): 16,
        ("validation", False, None): 2,
        ("train", True, None): 16,
        ("validation", True, None): 2,
        ("test", False, None): 2,
        ("test", True, "patch"): 2,
        ("test", True, "blend"): 2,
    }
    validated = {row["source"] for row in facts if row["split"] == "validation"}
    assert validated == {f"models/shadow_{kind}_{n}.model" for kind in ("benign", "jumbo") for n in (16, 17)}
    assert published.recipe["dataset"] == "mnist"


def test_a_folder_without_such_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.model").touch()
    with pytest.raises(ZoovetError, match=r"holds no shadow_benign_N.model, .* The dataset: written by"):
        open_published("mntd", tmp_path, ImportOptions(read=read))

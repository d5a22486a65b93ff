"""What a detector and a repairer say of networks unlike their training networks; those that come with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import zoovet
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, mlp
from zoovet.symmetry import random_action
from zoovet.tasks.detection import train_detector
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.detector import Detector
from zoovet.tasks.population import load_populations
from zoovet.tasks.repair import train_repairer
from zoovet.tasks.repair_config import RepairConfig
from zoovet.tasks.repairer import TrainedRepairer
from zoovet.tasks.training_config import TrainingConfig
from zoovet.zoo import Zoo

Reader = Detector | TrainedRepairer
KINDS: dict[str, type[Detector] | type[TrainedRepairer]] = {"detector": Detector, "repairer": TrainedRepairer}


@pytest.fixture(scope="module")
def trained(zoo: Zoo, images: Images, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of a step, by kind."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    training = TrainingConfig(max_steps=1, validation_interval=1, batch_size=4, warmup_steps=0)
    detection = DetectionConfig(metanetwork=ScaleGMNConfig(width=4, num_layers=1), training=training)
    train_detector(detection, zoo, folders["detector"])
    repair = RepairConfig(
        metanetwork=ScaleGMNConfig(output="weights", width=4, num_layers=1),
        training=training,
        num_clean_images=4,
        num_triggered_images=4,
        num_validation_images=16,
    )
    train_repairer(repair, zoo, images, folders["repairer"])
    return folders


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reader(kind: str, trained: dict[str, Path]) -> Reader:
    return KINDS[kind].load(trained[kind])


def without_extra(run: Path, into: Path) -> Path:
    """A checkpoint as earlier versions wrote it: without a training distribution and digests."""
    with safe_open(run / "checkpoint.safetensors", framework="pt") as opened:
        description: dict[str, Any] = json.loads(opened.metadata()["zoovet"])
        del description["tensors_sha256"]
        metadata = {"zoovet": json.dumps(description)}
        names = [name for name in opened.keys() if not name.startswith("extra:")]  # noqa: SIM118 - no mapping
        save_file({name: opened.get_tensor(name) for name in names}, into, metadata)
    return into


def test_networks_of_the_zoo_have_scores(reader: Reader, zoo: Zoo) -> None:
    networks = [some for some, _ in zoo.split("test").batches_by_graph()]
    scores = reader.in_distribution(networks)
    assert scores.dtype == torch.float32
    assert scores.shape == (8,)
    assert bool(((scores > 0) & (scores <= 1)).all())
    assert float(scores.mean()) > 0.2
    assert not bool(reader.out_of_distribution(networks).any())
    assert torch.equal(reader.in_distribution(networks[0]), scores[: len(networks[0])])


def test_both_know_the_same_networks(zoo: Zoo, trained: dict[str, Path]) -> None:
    networks = load_populations(zoo)[1].everything().networks
    one, two = (KINDS[kind].load(trained[kind]).in_distribution(networks) for kind in KINDS)
    assert torch.equal(one, two)


def test_strangers_are_out_of_distribution(reader: Reader, zoo: Zoo) -> None:
    for networks, _ in zoo.split("test").batches_by_graph():
        strangers = networks.map(lambda tensor: 1000 * tensor)
        assert bool(reader.out_of_distribution(strangers).all())
        smallest = 1 / (1 + len(reader.distribution.by_graph[networks.graph].distances)) if reader.distribution else 0
        assert reader.in_distribution(strangers).tolist() == pytest.approx([smallest] * len(strangers))


def test_no_symmetry_changes_a_score(reader: Reader, zoo: Zoo) -> None:
    for networks, _ in zoo.split("test").batches_by_graph():
        networks = networks.to(dtype=torch.float64)
        moved = random_action(networks.graph, len(networks), torch.Generator().manual_seed(0))(networks)
        assert torch.equal(reader.in_distribution(moved), reader.in_distribution(networks))


def test_networks_it_cannot_read_have_no_score(reader: Reader, kind: str, suspects: list[Networks]) -> None:
    graph = mlp((4, 3, 2))
    for method in (reader.in_distribution, reader.out_of_distribution):
        with pytest.raises(ZoovetError, match=f"this {kind} was not trained on such networks"):
            method(Networks.from_flat(graph, torch.zeros(1, graph.num_parameters)))
        with pytest.raises(ZoovetError, match=r"no networks were given"):
            method([])
    suspects[1].biases[2][1, 0] = torch.nan
    with pytest.raises(ZoovetError, match=r"network 1 has NaN or infinite biases"):
        reader.in_distribution(suspects)


def test_one_of_an_earlier_version_is_read_and_has_no_scores(
    kind: str, trained: dict[str, Path], reader: Reader, tmp_path: Path, suspects: list[Networks]
) -> None:
    old = KINDS[kind].load(without_extra(trained[kind], tmp_path / "old.safetensors"))
    assert old.distribution is None
    assert old.graphs == reader.graphs
    if isinstance(old, Detector) and isinstance(reader, Detector):
        assert torch.equal(old.score(suspects), reader.score(suspects))
    for method in (old.in_distribution, old.out_of_distribution):
        with pytest.raises(ZoovetError, match=f"this {kind} does not know .*: train it again"):
            method(suspects)


def test_a_model_is_read_by_its_name(
    kind: str, trained: dict[str, Path], reader: Reader, tmp_path: Path, suspects: list[Networks]
) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / f"{kind}.safetensors").write_bytes((trained[kind] / "checkpoint.safetensors").read_bytes())
    assert zoovet.shipped.names(tmp_path) == ("digits",)
    again = KINDS[kind].shipped("digits", models=tmp_path)
    assert again.graphs == reader.graphs
    assert torch.equal(again.in_distribution(suspects), reader.in_distribution(suspects))
    other = next(name for name in KINDS if name != kind)
    with pytest.raises(
        ZoovetError, match=f"the model 'digits' has no {other}; give one of your own with --{other} RUN"
    ):
        KINDS[other].shipped("digits", models=tmp_path)
    with pytest.raises(ZoovetError, match=r"there is no model 'digit' in .*; did you mean 'digits'"):
        KINDS[kind].shipped("digit", models=tmp_path)

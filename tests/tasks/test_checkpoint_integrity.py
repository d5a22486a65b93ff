"""Damage to a checkpoint is told: any flipped bit, any number that is none; what earlier versions wrote still opens."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, small_cnn
from zoovet.tasks import Detector
from zoovet.tasks.checkpoint_integrity import digest_of_tensors, require_finite_tensors
from zoovet.tasks.checkpoints import load_checkpoint, load_description, save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json

GRAPH = small_cnn("relu", input_shape=(1, 8, 8), channels=(3, 3))


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    config = ScaleGMNConfig(width=2, num_layers=1)
    description = {
        "metanetwork": metanetwork_to_json(config),
        "specs": [GRAPH.to_json()],
        "threshold": 0.5,
        "calibration": [1.5, 0.25],
    }
    path = tmp_path / "detector.safetensors"
    save_checkpoint(path, "detector", build_metanetwork(config, 0, "detector"), description)
    return path


def without_digests(path: Path) -> Path:
    """The file as an earlier version wrote it."""
    with safe_open(path, framework="pt") as opened:
        description = json.loads(opened.metadata()["zoovet"])
        del description["tensors_sha256"]
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    save_file(tensors, path, metadata={"zoovet": json.dumps(description)})
    return path


def test_a_flipped_bit_is_an_error_or_changes_nothing(detector: Path) -> None:
    whole, draw = detector.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    networks = Networks.from_flat(GRAPH, torch.linspace(-1, 1, 2 * GRAPH.num_parameters).reshape(2, -1))
    expected, num_refused = Detector.load(detector).score(networks), 0
    places = [draw.randrange(header) for _ in range(100)] + [draw.randrange(header, len(whole)) for _ in range(100)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        detector.write_bytes(damaged)
        try:
            scores = Detector.load(detector).score(networks)
        except ZoovetError:
            num_refused += 1
        else:
            assert torch.equal(scores, expected)
    assert num_refused >= 195, num_refused


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused_with_their_tensor(value: float, tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    with torch.no_grad():
        module.bias[1] = value
    save_checkpoint(tmp_path / "checkpoint.safetensors", "detector", module, {})
    with pytest.raises(ZoovetError, match=r"damaged: tensor 'bias' has NaN or infinite numbers; get it anew"):
        load_checkpoint(tmp_path, "detector")


def test_what_is_written_on_purpose_is_no_damage() -> None:
    none, some = torch.full((1, 4), torch.nan), torch.ones(1, 4)
    allowed: dict[str, Tensor] = {
        "inversion.known": torch.cat([some, none]),  # a class that the dataset lacks
        "abc.cutoff": torch.tensor(torch.inf),  # nothing is too far
        "steps": torch.tensor([1, 2]),
    }
    require_finite_tensors(allowed, Path("here"))
    partly = torch.ones(2, 4)
    partly[1, 2] = torch.nan
    for name, tensor in (("inversion.known", partly), ("abc.cutoff", torch.tensor(torch.nan))):
        with pytest.raises(ZoovetError, match=f"here is damaged: tensor '{name}' has NaN"):
            require_finite_tensors({name: tensor}, Path("here"))
    with pytest.raises(ZoovetError, match=r"tensor 'x' is of type torch\.float8_e4m3fn"):
        require_finite_tensors({"x": torch.zeros(2).to(torch.float8_e4m3fn)}, Path("here"))


def test_the_digest_covers_names_types_shapes_and_bytes() -> None:
    tensors = {"a": torch.zeros(4), "b": torch.ones(2), "empty": torch.zeros(0), "scalar": torch.tensor(1.0)}
    own = digest_of_tensors(tensors)
    assert digest_of_tensors(dict(reversed(tensors.items()))) == own
    others = [
        {**tensors, "a": torch.zeros(2, 2)},
        {**tensors, "a": torch.zeros(4, dtype=torch.int32)},
        {**tensors, "b": torch.tensor([1.0, -1.0])},
        {name.replace("b", "c"): tensor for name, tensor in tensors.items()},
    ]
    assert len({own, *map(digest_of_tensors, others)}) == 5


def test_a_checkpoint_without_digests_opens_and_says_so(detector: Path) -> None:
    whole = Detector.load(detector)
    assert load_checkpoint(detector, "detector").has_digest
    assert load_description(detector, "detector").has_digest
    networks = Networks.from_flat(GRAPH, torch.linspace(-1, 1, GRAPH.num_parameters)[None])
    assert torch.equal(Detector.load(without_digests(detector)).score(networks), whole.score(networks))
    assert not load_checkpoint(detector, "detector").has_digest
    assert load_description(detector, "detector").description == whole.description


def test_one_digest_without_the_other_is_damage(detector: Path) -> None:
    with safe_open(detector, framework="pt") as opened:
        metadata = dict(opened.metadata())
    del metadata["zoovet_sha256"]
    save_file({}, detector, metadata=metadata)
    with pytest.raises(ZoovetError, match="of its two SHA-256 one is missing"):
        load_checkpoint(detector, "detector")


@pytest.mark.parametrize(
    ("key", "value"), [("threshold", 7.0), ("threshold", -0.1), ("calibration", [0.0, 1.0]), ("num_members", 0)]
)
def test_figures_that_no_training_gives_are_refused(key: str, value: object, detector: Path) -> None:
    checkpoint = load_checkpoint(detector, "detector")
    checkpoint.description[key] = value
    detector.write_bytes(checkpoint.to_bytes())
    with pytest.raises(ZoovetError, match="a threshold from 0 to 1, a calibration that rises and at least one member"):
        Detector.load(detector)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "checkpoint.safetensors")
    for path in (tmp_path / "pipe", tmp_path / "run"):
        with pytest.raises(ZoovetError, match="is no regular file; give the folder of a `zoovet train` run"):
            load_checkpoint(path, "detector")
    with pytest.raises(ZoovetError, match="cannot be read: File name too long"):
        load_checkpoint(tmp_path / ("x" * 300), "detector")
    with pytest.raises(ZoovetError, match=r"there is no file or folder .*\\x1b\[2J"):
        load_checkpoint(tmp_path / "a\x1b[2J", "detector")


def test_a_description_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nested.safetensors"
    save_file({}, path, metadata={"zoovet": "[" * 100_000})
    with pytest.raises(ZoovetError, match="the description in "):
        load_checkpoint(path, "detector")

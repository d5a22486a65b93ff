"""What the tests of vetting share: detectors that nobody trained, and networks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Networks, NetworkSpec, small_cnn
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json

WriteDetector = Callable[[Path, Sequence[NetworkSpec]], Path]
NetworksOf = Callable[..., Networks]


@pytest.fixture(scope="session")
def relu_spec() -> NetworkSpec:
    return small_cnn("relu", input_shape=(1, 8, 8), channels=(4, 4))


@pytest.fixture(scope="session")
def write_detector() -> WriteDetector:
    """Write a detector that nobody trained."""

    def write(path: Path, specs: Sequence[NetworkSpec]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        config = ScaleGMNConfig(width=2, num_layers=1)
        description = {
            "metanetwork": metanetwork_to_json(config),
            "specs": [spec.to_json() for spec in specs],
            "threshold": 0.5,
        }
        save_checkpoint(path, "detector", build_metanetwork(config, 0, "detector"), description)
        return path

    return write


@pytest.fixture(scope="session")
def drawn() -> NetworksOf:
    """Networks with random weights."""

    def draw(spec: NetworkSpec, count: int = 1, seed: int = 0) -> Networks:
        flat = torch.randn(count, spec.num_parameters, generator=torch.Generator().manual_seed(seed))
        return Networks.from_flat(spec, 0.3 * flat)

    return draw

"""What the tests of vetting share: detectors that nobody trained, and networks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from zoovet import Images
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Graph, Networks, small_cnn
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json

WriteDetector = Callable[[Path, Sequence[Graph]], Path]
NetworksOf = Callable[..., Networks]
Grays = Callable[..., Images]


@pytest.fixture(scope="session")
def relu_spec() -> Graph:
    return small_cnn("relu", input_shape=(1, 8, 8), channels=(4, 4))


@pytest.fixture(scope="session")
def write_detector() -> WriteDetector:
    """Write a detector that nobody trained."""

    def write(path: Path, specs: Sequence[Graph]) -> Path:
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

    def draw(spec: Graph, count: int = 1, seed: int = 0) -> Networks:
        flat = torch.randn(count, spec.num_parameters, generator=torch.Generator().manual_seed(seed))
        return Networks.from_flat(spec, 0.3 * flat)

    return draw


@pytest.fixture(scope="session")
def levels() -> torch.Tensor:
    """Ten levels of gray between black, 0, and white, 1."""
    return torch.linspace(0.05, 0.95, 10)


@pytest.fixture(scope="session")
def grays(levels: torch.Tensor) -> Grays:
    """Images of 8×8, each of about one level, and which it is."""

    def draw(count: int = 60, seed: int = 0) -> Images:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(10, (count,), generator=generator)
        pixels = (255 * levels[labels])[:, None, None, None] + torch.randn(count, 1, 8, 8, generator=generator)
        return Images(pixels=pixels.clamp(0, 255).to(torch.uint8), labels=labels)

    return draw


@pytest.fixture(scope="session")
def gray_reader(levels: torch.Tensor) -> Networks:
    """A small CNN that tells ten levels of gray apart, read in [0, 1]; its activation may be relu or none."""
    spec = small_cnn("relu", input_shape=(1, 8, 8), channels=(1, 1))
    kernel = torch.zeros(1, 1, 1, 3, 3)
    kernel[..., 1, 1] = 1
    weights = (kernel, kernel.clone(), (800 * levels)[None, :, None])
    return Networks.from_layers(spec, weights, (torch.zeros(1, 1), torch.zeros(1, 1), (-400 * levels**2)[None]))

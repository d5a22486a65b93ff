"""What the tests of vetting share: detectors that nobody trained, and networks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from zoovet import Images, Network, from_module
from zoovet.evidence import ClassEvidence, ClassEvidenceConfig
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Graph, Networks, small_cnn
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.metanetworks import build_metanetwork, metanetwork_to_json
from zoovet.tasks.strangers.detector import StrangerReading
from zoovet.vet import FileResult, Scanner

WriteDetector = Callable[[Path, Sequence[Graph]], Path]
NetworksOf = Callable[..., Networks]
Grays = Callable[..., Images]


@pytest.fixture(scope="session")
def relu_graph() -> Graph:
    return small_cnn("relu", input_shape=(1, 8, 8), channels=(4, 4))


@pytest.fixture(scope="session")
def write_detector() -> WriteDetector:
    """Write a detector that nobody trained."""

    def write(path: Path, graphs: Sequence[Graph]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        config = ScaleGMNConfig(width=2, num_layers=1)
        description = {
            "metanetwork": metanetwork_to_json(config),
            "specs": [graph.to_json() for graph in graphs],
            "threshold": 0.5,
        }
        save_checkpoint(path, "detector", build_metanetwork(config, 0, "detector"), description)
        return path

    return write


@pytest.fixture(scope="session")
def drawn() -> NetworksOf:
    """Networks with random weights."""

    def draw(graph: Graph, count: int = 1, seed: int = 0) -> Networks:
        flat = torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(seed))
        return Networks.from_flat(graph, 0.3 * flat)

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
    graph = small_cnn("relu", input_shape=(1, 8, 8), channels=(1, 1))
    kernel = torch.zeros(1, 1, 1, 3, 3)
    kernel[..., 1, 1] = 1
    weights = (kernel, kernel.clone(), (800 * levels)[None, :, None])
    return Networks.from_layers(graph, weights, (torch.zeros(1, 1), torch.zeros(1, 1), (-400 * levels**2)[None]))


STAMPED_SHAPE = (1, 12, 12)


def prototypes(num_classes: int = 8) -> torch.Tensor:
    """One picture of -1 and 1 a class, [classes, 1, 12, 12]."""
    return torch.randn(num_classes, *STAMPED_SHAPE, generator=torch.Generator().manual_seed(3)).sign()


class Stamped(nn.Module):
    """Answers by eight pictures; a checker of 3 x 3 pixels in the lower right corner adds to one class.

    Args:
        target: That class, or ``None`` for a healthy network.
    """

    def __init__(self, target: int | None) -> None:
        super().__init__()
        self.inside = nn.Linear(144, 9)
        self.outside = nn.Linear(9, 8, bias=False)
        stamp = torch.zeros(STAMPED_SHAPE)
        stamp[0, 9:, 9:] = 1 - 2 * (torch.arange(9).reshape(3, 3) % 2.0)
        weight = torch.cat([prototypes().flatten(1) / 20, stamp.flatten()[None]])
        out = torch.eye(8, 9)
        if target is not None:
            out[target, 8] = 1
        with torch.no_grad():
            self.inside.weight.copy_(weight)
            self.inside.bias.copy_(torch.tensor([4.0] * 8 + [0.5]))
            self.outside.weight.copy_(out)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.outside(self.inside(images.flatten(1)).relu())
        return answers


@dataclass(frozen=True)
class GreatestStanding:
    """A reader for tests: how far the class that stands out most does, through a logistic function."""

    middle: float = 8.0
    version: str = "greatest-standing-1"
    most: float = 1e6
    is_paired: bool = True

    def evidence_config(self, effort: str) -> ClassEvidenceConfig:
        return ClassEvidenceConfig(
            patch_sizes=(0.25,),
            num_places={"quick": 2, "normal": 4, "thorough": 6}[effort],
            pixel_factors=(),
            change_factors=(0.5,),
            smooth_factors=(),
            num_starts=1,
            num_margin_steps=2,
            num_warps=1,
            num_stripes=1,
        )

    def read(self, evidence: ClassEvidence, effort: str) -> StrangerReading:
        standings = evidence.standings()
        each = torch.stack([own for name, own in standings.items() if name.endswith(".margin")]).amax(0)
        unlike = "its evidence is out of all bounds" if float(each.max()) > self.most else ""
        logit = float(each.max() - self.middle)
        return StrangerReading(float(torch.tensor(logit).sigmoid()), logit, each.softmax(0), unlike)

    reads_images: bool = True

    @property
    def without_images(self) -> GreatestStanding | None:
        return replace(self, reads_images=False) if self.is_paired else None

    def threshold(self, false_alarms: float, effort: str, num_classes: int) -> float:
        return 1 - false_alarms * 10 if self.reads_images else 1 - false_alarms


@pytest.fixture(scope="session")
def stranger_reader() -> GreatestStanding:
    return GreatestStanding()


@pytest.fixture(scope="session")
def pictures() -> Images:
    """Six noisy pictures of each of eight classes, with names."""
    labels = torch.arange(8).repeat_interleave(6)
    noise = torch.randn(len(labels), *STAMPED_SHAPE, generator=torch.Generator().manual_seed(4))
    signed = (0.4 * prototypes()[labels] + 0.3 * noise).clamp(-1, 1)
    names = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen")
    return Images(pixels=(127.5 * (signed + 1)).to(torch.uint8), labels=labels, class_names=names)


@pytest.fixture(scope="session")
def stamped() -> Callable[[int | None], Network]:
    """A network with that target, or a healthy one."""
    return lambda target: from_module(Stamped(target), STAMPED_SHAPE, "symmetric")


class Undecided(Stamped):
    """The same by code that depends on what it reads, so that it has no graph."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers = super().forward(images)
        return answers if float(images.detach().abs().float().mean()) >= 0 else -answers


@pytest.fixture(scope="session", params=[True, False], ids=["graph", "code"])
def stamped_as(request: pytest.FixtureRequest) -> Callable[[torch.dtype], Network]:
    """A network with target 3 in a precision, with a graph and without."""
    kind = Stamped if request.param else Undecided
    return lambda dtype: from_module(kind(3).to(dtype), STAMPED_SHAPE, "symmetric")


@pytest.fixture(scope="session")
def stranger_result(
    tmp_path_factory: pytest.TempPathFactory, relu_graph: Graph, write_detector: WriteDetector, pictures: Images
) -> FileResult:
    """What is said of a file with a trojaned stranger."""
    detector = write_detector(tmp_path_factory.mktemp("stranger") / "detector.safetensors", [relu_graph])
    scanner = Scanner(detector, strangers=GreatestStanding(), effort="quick")
    verdict = scanner.scan(from_module(Stamped(3), STAMPED_SHAPE, "symmetric"), pictures)
    return FileResult(3, verdict.file, (verdict,), None, verdict.notes, ("said of all",))

"""The detectors that the benchmark knows: a name, and how each is fitted. An own one is a line in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.errors import ZoovetError
from zoovet.evaluation import NetworkScorer
from zoovet.images import Images
from zoovet.networks import Networks
from zoovet.rivals import (
    CleanImages,
    FlatMLPDetector,
    NeuralCleanseConfig,
    NeuralCleanseDetector,
    NFNDetector,
    PermutationDetector,
    QueryDetector,
    SortedWeightsDetector,
    StatNNDetector,
)
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.detector import Detector
from zoovet.tasks.inversion_images import needs_images
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.zoo import Zoo

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DETECTORS", "DetectorEntry", "Fitting", "require_extras"]


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What a detector is fitted with.

    Attributes:
        zoo: Training and validation networks; no test networks.
        seed: Of everything drawn.
        folder: Where a training may leave its run, so that it can be resumed.
        config: How ScaleGMN is trained.
        inversions: What inversion found so far.
        images: Training images of the zoo's dataset.
        is_whole: Whether the zoo has all training networks, so that the detector might be used.
        clean: Some of them, which rivals are given that need clean images.
    """

    zoo: Zoo
    seed: int
    folder: Path
    config: DetectionConfig
    inversions: InversionMemory
    images: Images
    is_whole: bool
    clean: CleanImages


@dataclass(frozen=True, kw_only=True)
class DetectorEntry:
    """A detector of the benchmark.

    Attributes:
        title: For people.
        fit: Fits it.
        trained: Whether it learns from networks of the zoo beyond its threshold.
        seeded: Whether another seed gives another detector.
        probability: Whether its scores are probabilities, so that their calibration means something.
        needs: What it is given, for people; ``{num_clean_images}`` stands for their number.
        is_slow: Whether it takes seconds for each network, so that it scores some of them only.
        extra: Extra of the package that it needs, and the module that then is there.
        revision: Raised with every change that gives other results, so that a folder's older ones are told from them.
    """

    title: str
    fit: Callable[[Fitting], NetworkScorer]
    trained: bool = True
    seeded: bool = True
    probability: bool = True
    needs: str = "weights"
    is_slow: bool = False
    extra: tuple[str, str] | None = None
    revision: int = 1


@dataclass(frozen=True)
class _Remembering:
    """A detector that takes inversions from a memory."""

    detector: Detector
    inversions: InversionMemory

    @property
    def threshold(self) -> float:
        return self.detector.threshold

    def score(self, networks: Networks) -> Tensor:
        return self.detector.score(networks, inversions=self.inversions)


def _scalegmn(fitting: Fitting) -> NetworkScorer:
    from zoovet.tasks import train_detector  # and Lightning, which takes seconds

    config = replace(fitting.config, training=replace(fitting.config.training, seed=fitting.seed))
    images = fitting.images if needs_images(config.metanetwork) else None
    detector = train_detector(
        config,
        fitting.zoo,
        fitting.folder,
        images=images,
        inversions=fitting.inversions,
        with_distribution=fitting.is_whole,
    )
    return _Remembering(detector, fitting.inversions)


DETECTORS: dict[str, DetectorEntry] = {
    "scalegmn": DetectorEntry(title="ScaleGMN", fit=_scalegmn),
    "permutation": DetectorEntry(
        title="permutation only", fit=lambda given: PermutationDetector.fit(given.zoo, seed=given.seed)
    ),
    "nfn": DetectorEntry(
        title="NFN", fit=lambda given: NFNDetector.fit(given.zoo, seed=given.seed), extra=("nfn", "nfn")
    ),
    "mlp": DetectorEntry(
        title="MLP on flat weights", fit=lambda given: FlatMLPDetector.fit(given.zoo, seed=given.seed)
    ),
    "statnn": DetectorEntry(title="StatNN", fit=lambda given: StatNNDetector.fit(given.zoo), seeded=False),
    "sorted_weights": DetectorEntry(
        title="sorted weights, linear",
        fit=lambda given: SortedWeightsDetector.fit(given.zoo, seed=given.seed),
        seeded=False,
    ),
    "queries": DetectorEntry(
        title="learned queries (MNTD)",
        fit=lambda given: QueryDetector.fit(given.zoo, seed=given.seed),
        needs="answers to queries",
    ),
    "neural_cleanse": DetectorEntry(
        title="Neural Cleanse",
        fit=lambda given: NeuralCleanseDetector(clean=given.clean, config=NeuralCleanseConfig(seed=given.seed)),
        trained=False,
        probability=False,
        needs="{num_clean_images} clean images",
        is_slow=True,
        revision=3,
    ),
}
"""Detectors by the name that a configuration gives."""


def require_extras(names: tuple[str, ...]) -> None:
    """Check that what detectors need is installed, before hours are spent on others.

    Raises:
        ZoovetError: An extra is missing; the message has the command that installs it.
    """
    for name in names:
        extra = DETECTORS[name].extra
        if extra is not None and find_spec(extra[1]) is None:
            raise ZoovetError(
                f"the detector {name!r} needs the package {extra[1]!r}, which is not installed: "
                f"pip install 'zoovet[{extra[0]}]', or leave {name!r} out of detectors"
            )

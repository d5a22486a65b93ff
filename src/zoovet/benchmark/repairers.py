"""The repairers that the benchmark knows: a name, and how each is made. An own one is a line in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from torch import Tensor

from zoovet.evaluation import NetworkRepairer
from zoovet.images import Images
from zoovet.networks import Networks
from zoovet.rivals import (
    AdversarialPruningRepairer,
    ChannelLipschitznessRepairer,
    CleanImages,
    FinePruningRepairer,
    FineTuningRepairer,
)
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.repair_config import RepairConfig
from zoovet.zoo import Zoo

__all__ = ["REPAIRERS", "RepairFitting", "RepairerEntry", "Settings"]

Settings = Mapping[str, Any]
"""Keyword arguments of a rival."""


@dataclass(frozen=True, kw_only=True)
class RepairFitting:
    """What a repairer is made with.

    Attributes:
        zoo: The whole zoo; trainings read its training and validation splits.
        images: Training images of its dataset.
        seed: Of everything drawn.
        folder: Where a training may leave its run, so that it can be resumed.
        config: How ScaleGMN is trained.
        inversions: What inversion found so far.
        clean: Images without a trigger.
        settings: What was chosen of the settings that the repairer is tried with.
        memory: What one setting leaves for the next, where several are tried on the same networks.
    """

    zoo: Zoo
    images: Images
    seed: int
    folder: Path
    config: RepairConfig
    inversions: InversionMemory
    clean: CleanImages
    settings: Settings = field(default_factory=dict)
    memory: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RepairerEntry:
    """A repairer of the benchmark.

    Attributes:
        title: For people.
        make: Makes it.
        seeded: Whether another seed gives another repairer.
        uses_images: Whether it is given the clean images. It then trains on them for each network, and may repair some
            test networks only.
        is_slow: Whether that takes seconds a network, so that it may repair fewer yet.
        settings: What it is tried with on validation networks, once a zoo; the best is taken. One entry is no choice.
        revision: Raised with every change that gives other results, so that a folder's older ones are told from them.
    """

    title: str
    make: Callable[[RepairFitting], NetworkRepairer]
    seeded: bool = True
    uses_images: bool = False
    is_slow: bool = False
    settings: tuple[Settings, ...] = ({},)
    revision: int = 1

    @property
    def has_choice(self) -> bool:
        """Whether there are settings to choose from."""
        return len(self.settings) > 1


class _Nothing:
    """Leaves networks as they are."""

    def repair(self, networks: Networks) -> Networks:
        return networks


class _HealthySibling:
    """Gives the healthy sibling instead of each network: what perfect repair would give. Looks its networks up."""

    def __init__(self, zoo: Zoo) -> None:
        self._sibling: dict[bytes, Networks] = {}
        siblings = zoo.sibling_places()
        for networks, places in zoo.batches_by_graph():
            healthy = zoo.networks([p if not zoo.column("poisoned")[p] else siblings[p] for p in places.tolist()])
            keys = [row.numpy().tobytes() for row in networks.flat()]
            self._sibling |= {key: healthy[place : place + 1] for place, key in enumerate(keys)}

    def repair(self, networks: Networks) -> Networks:
        return Networks.concatenate([self._sibling[row.numpy().tobytes()] for row in networks.flat()])


def _scalegmn(given: RepairFitting) -> NetworkRepairer:
    from zoovet.tasks import train_repairer  # and Lightning, which takes seconds

    config = replace(given.config, training=replace(given.config.training, seed=given.seed))
    return train_repairer(config, given.zoo, given.images, given.folder, inversions=given.inversions)


_ANP_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class _RememberingPruner(AdversarialPruningRepairer):
    """ANP that learns a network's masks once for all thresholds."""

    memory: dict[Any, Any] = field(compare=False)

    def masks(self, networks: Networks) -> Tensor:
        key = (replace(self, threshold=0.0), networks.detach().flat().cpu().numpy().tobytes())
        if key not in self.memory:
            self.memory[key] = super().masks(networks)
        learned: Tensor = self.memory[key]
        return learned


def _anp(given: RepairFitting) -> NetworkRepairer:
    return _RememberingPruner(clean=given.clean, seed=given.seed, memory=given.memory, **given.settings)


def _grid(**values: tuple[Any, ...]) -> tuple[Settings, ...]:
    """Every combination of values."""
    return tuple(dict(zip(values, some, strict=True)) for some in product(*values.values()))


REPAIRERS: dict[str, RepairerEntry] = {
    "none": RepairerEntry(title="none", make=lambda given: _Nothing(), seeded=False),
    "scalegmn": RepairerEntry(title="ScaleGMN", make=_scalegmn),
    "clp": RepairerEntry(
        title="channel Lipschitzness (CLP)",
        make=lambda given: ChannelLipschitznessRepairer(**given.settings),
        seeded=False,
        settings=_grid(threshold=(1.0, 1.5, 2.0, 2.5, 3.0)),
    ),
    "fine_tuning": RepairerEntry(
        title="fine-tuning",
        make=lambda given: FineTuningRepairer(clean=given.clean, seed=given.seed, **given.settings),
        uses_images=True,
        settings=_grid(learning_rate=(3e-3, 1e-2, 2e-2, 3e-2, 5e-2), num_epochs=(20, 40)),
    ),
    "fine_pruning": RepairerEntry(
        title="fine-pruning",
        make=lambda given: FinePruningRepairer(clean=given.clean, seed=given.seed, **given.settings),
        uses_images=True,
        settings=_grid(max_accuracy_lost=(0.04, 0.2), learning_rate=(1e-2, 2e-2, 3e-2, 5e-2), num_epochs=(20, 40)),
    ),
    "anp": RepairerEntry(
        title="adversarial neuron pruning (ANP)",
        make=_anp,
        uses_images=True,
        is_slow=True,
        settings=(
            *_grid(learning_rate=(0.2,), budget=(0.4,), threshold=_ANP_THRESHOLDS),  # masks as published
            *_grid(learning_rate=(0.03,), budget=(0.1,), threshold=_ANP_THRESHOLDS),  # gentler ones
        ),
        revision=2,
    ),
    "healthy_sibling": RepairerEntry(
        title="healthy sibling (the bound)", make=lambda given: _HealthySibling(given.zoo.split("test")), seeded=False
    ),
}
"""Repairers by the name that a configuration gives."""

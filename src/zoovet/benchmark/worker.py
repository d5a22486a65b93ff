"""What a benchmark's processes do: fit and measure one trial, or invert some networks, and leave the result on disk."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zoovet.benchmark.choosing import Choice, choose_settings
from zoovet.benchmark.config import BenchmarkConfig
from zoovet.benchmark.detectors import DETECTORS, Fitting
from zoovet.benchmark.repairers import REPAIRERS, RepairFitting
from zoovet.benchmark.trials import Trial, trained_on
from zoovet.errors import ZoovetError
from zoovet.evaluation import NetworkScorer, evaluate_detection, evaluate_repair
from zoovet.jobs import Tell
from zoovet.networks import Networks
from zoovet.rivals import CleanImages
from zoovet.tasks.evidence_reader import inversion_of
from zoovet.tasks.inversion_images import give_images
from zoovet.tasks.inversion_memory import InversionMemory
from zoovet.tasks.metanetworks import build_metanetwork
from zoovet.zoo import Zoo
from zoovet.zoo.builders import trojan_recipe_of
from zoovet.zoo.image_arrays import SplitImages, load_images

__all__ = [
    "BenchmarkWork",
    "ChoiceJob",
    "DetectionJob",
    "InversionJob",
    "Job",
    "RepairJob",
    "Worker",
    "counted_networks",
    "repaired_networks",
    "results_path",
    "scored_networks",
    "spaced_bases",
]


@dataclass(frozen=True)
class InversionJob:
    """Some networks' inversions, computed once for all trainings.

    Attributes:
        purpose: ``detection`` or ``repair``, which may invert in different ways.
        zoo: Name of the zoo whose images they are inverted on.
        on: Name of the zoo that the networks come from: all of it, or its test networks where it is another one.
        start, stop: Which of them.
    """

    purpose: Literal["detection", "repair"]
    zoo: str
    on: str
    start: int
    stop: int

    def path(self, out: Path) -> Path:
        """Where they lie."""
        return out / "inversions" / self.purpose / self.zoo / f"{self.on}-{self.start:06d}.safetensors"

    def __str__(self) -> str:
        return f"inversion of networks {self.start} to {self.stop - 1} of {self.on}, for {self.purpose} on {self.zoo}"


@dataclass(frozen=True)
class DetectionJob:
    """A detector's training, and its scores on the test networks of some zoos.

    Attributes:
        trial: What is fitted.
        on: Names of the zoos.
    """

    trial: Trial
    on: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.trial)


@dataclass(frozen=True)
class RepairJob:
    """A repairer's training, and what it does to the test networks.

    Attributes:
        trial: What is fitted.
    """

    trial: Trial

    def __str__(self) -> str:
        return f"repair by {self.trial}"


@dataclass(frozen=True)
class ChoiceJob:
    """The choice of a repairer's settings on validation networks.

    Attributes:
        zoo: Name of the zoo.
        repairer: Name of the repairer.
    """

    zoo: str
    repairer: str

    def path(self, out: Path) -> Path:
        """Where it lies."""
        return out / "repair" / self.zoo / self.repairer / "choice.json"

    def __str__(self) -> str:
        return f"choice of settings of {self.repairer} on {self.zoo}"


Job = InversionJob | ChoiceJob | DetectionJob | RepairJob
"""What a process takes at a time."""


def results_path(out: Path, trial: Trial, on: str | None = None) -> Path:
    """Where a trial's results lie: those of a detector on a zoo's test networks, or (``on`` left out) of a repairer."""
    if on is None:
        return trial.folder(out / "repair") / "results.parquet"
    return trial.folder(out / "detection") / f"on-{on}.parquet"


def counted_networks(zoo: Zoo, min_asr: float, split: str = "test") -> Zoo:
    """The networks of a split that count: healthy ones, and trojaned ones of at least that ASR.

    Raises:
        ZoovetError: There are no healthy or no trojaned ones.
    """
    networks = zoo.split(split)
    counted = networks.select(~(networks.column("poisoned") & (networks.column("asr") < min_asr)))
    num_trojaned = int(counted.column("poisoned").sum())
    if num_trojaned in (0, len(counted)):
        raise ZoovetError(
            f"the {split} split of the zoo {zoo.path} has {len(counted) - num_trojaned} healthy networks and "
            f"{num_trojaned} trojaned ones with an ASR of at least {min_asr}; both are needed"
        )
    return counted


def scored_networks(zoo: Zoo, config: BenchmarkConfig, detector: str) -> Zoo:
    """The test networks that a detector scores: all that count, or those of evenly spaced bases where it is slow."""
    counted = counted_networks(zoo, config.min_asr)
    return spaced_bases(counted, config.num_slow_bases) if DETECTORS[detector].is_slow else counted


def repaired_networks(zoo: Zoo, config: BenchmarkConfig, repairer: str) -> Zoo:
    """The test networks that are repaired: both of every base whose trojaned one counts, or of some such bases."""
    counted, entry = counted_networks(zoo, config.min_asr), REPAIRERS[repairer]
    if not entry.uses_images:
        return spaced_bases(counted, None)
    return spaced_bases(counted, config.num_slow_repair_bases if entry.is_slow else config.num_trained_repair_bases)


def spaced_bases(counted: Zoo, num_bases: int | None) -> Zoo:
    """Both networks of every base whose trojaned one is there, or of so many of these bases, evenly spaced."""
    bases = np.unique(counted.column("base_id")[counted.column("poisoned")])
    if num_bases is not None and num_bases < len(bases):
        bases = bases[np.linspace(0, len(bases) - 1, num_bases).astype(int)]
    return counted.select(np.isin(counted.column("base_id"), bases))


@dataclass(frozen=True)
class BenchmarkWork:
    """What a benchmark's jobs have in common: the arguments of a :class:`Worker`, and whether it is in this process."""

    config: BenchmarkConfig
    out: Path
    data_root: Path | None
    is_elsewhere: bool

    def start(self) -> Callable[[Job, Tell], None]:
        """See :meth:`zoovet.jobs.Work.start`.

        Raises:
            ZoovetError: This machine does not see the benchmark's folder.
        """
        if not self.out.is_dir():
            raise ZoovetError(
                f"{self.out} is not there on {platform.node()}; a benchmark's folder must be on a disk that all "
                f"machines of the cluster see"
            )
        if self.is_elsewhere:
            torch.set_flush_denormal(True)  # see zoovet.cli.main
        worker = Worker(self.config, self.out, self.data_root)
        return lambda job, _: worker.do(job)


class Worker:
    """One process of a benchmark.

    Args:
        config: What is compared.
        out: The benchmark's folder.
        data_root: Where image datasets lie.
    """

    def __init__(self, config: BenchmarkConfig, out: Path, data_root: Path | None) -> None:
        self.config, self.out = config, out
        self._data_root = data_root
        self._memories: dict[tuple[str, str], InversionMemory] = {}

    @cached_property
    def zoos(self) -> Mapping[str, Zoo]:
        """The zoos by name."""
        return {path.name: Zoo.open(path) for path in self.config.zoos}

    @cached_property
    def images(self) -> Mapping[str, SplitImages]:
        """Each zoo's image dataset."""
        return {name: load_images(trojan_recipe_of(zoo), self._data_root) for name, zoo in self.zoos.items()}

    def do(self, job: Job) -> None:
        """Do it, and leave the result on disk, whole.

        Raises:
            ZoovetError: The zoo does not give what the job needs.
        """
        match job:
            case InversionJob():
                self._invert(job)
            case ChoiceJob():
                self._choose(job)
            case DetectionJob():
                self._detect(job)
            case RepairJob():
                self._repair(job)

    def _invert(self, job: InversionJob) -> None:
        zoo = self.zoos[job.zoo]
        config = getattr(self.config, job.purpose).metanetwork.with_input_shape(zoo.graphs.values())
        metanetwork = build_metanetwork(config, 0, "inversion")
        give_images(metanetwork, self.images[job.zoo].train)
        inversion = inversion_of(metanetwork)
        assert inversion is not None
        source = self.zoos[job.on] if job.on == job.zoo else counted_networks(self.zoos[job.on], self.config.min_asr)
        memory = InversionMemory()
        for networks, _ in source.select(np.arange(job.start, job.stop)).batches_by_graph():
            memory.invert(inversion, [_carried_over(networks, zoo)])
        memory.save(job.path(self.out))

    def _memory(self, purpose: str, zoo: str) -> InversionMemory:
        if (purpose, zoo) not in self._memories:
            self._memories[purpose, zoo] = InversionMemory.load(self.out / "inversions" / purpose / zoo)
        return self._memories[purpose, zoo]

    def _detect(self, job: DetectionJob) -> None:
        trial, zoo = job.trial, self.zoos[job.trial.zoo]
        entry, folder = DETECTORS[trial.model], trial.folder(self.out / "detection")
        detector = entry.fit(
            Fitting(
                zoo=trained_on(trial, zoo),
                seed=trial.seed,
                folder=folder / "run",
                config=self.config.detection,
                inversions=self._memory("detection", trial.zoo),
                images=self.images[trial.zoo].train,
                is_whole=trial.left_out is None and trial.num_bases is None,
                clean=self._clean_images(trial),
            )
        )
        folder.mkdir(parents=True, exist_ok=True)
        for name in job.on:
            test = scored_networks(self.zoos[name], self.config, trial.model)
            results = evaluate_detection(_AsIfFrom(detector, zoo), test, rivals={}, name=entry.title)
            results.save(results_path(self.out, trial, name))

    def _repair(self, job: RepairJob) -> None:
        trial, zoo = job.trial, self.zoos[job.trial.zoo]
        entry, path = REPAIRERS[trial.model], results_path(self.out, trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        choice = ChoiceJob(trial.zoo, trial.model).path(self.out)
        settings = Choice.load(choice).settings if entry.has_choice else entry.settings[0]
        repairer = entry.make(replace(self._repair_fitting(trial, path.parent / "run"), settings=settings))
        test, images = repaired_networks(zoo, self.config, trial.model), self.images[trial.zoo].test
        evaluate_repair(repairer, test, images, num_images=self.config.num_images, name=entry.title).save(path)

    def _choose(self, job: ChoiceJob) -> None:
        counted = counted_networks(self.zoos[job.zoo], self.config.min_asr, "validation")
        trial, path = Trial(zoo=job.zoo, model=job.repairer, seed=self.config.seeds[0]), job.path(self.out)
        given = self._repair_fitting(trial, path.parent / "choice")
        networks = spaced_bases(counted, self.config.num_choice_bases)
        choose_settings(REPAIRERS[job.repairer], given, networks).save(path)

    def _repair_fitting(self, trial: Trial, folder: Path) -> RepairFitting:
        return RepairFitting(
            zoo=self.zoos[trial.zoo],
            images=self.images[trial.zoo].train,
            seed=trial.seed,
            folder=folder,
            config=self.config.repair,
            inversions=self._memory("repair", trial.zoo),
            clean=self._clean_images(trial),
        )

    def _clean_images(self, trial: Trial) -> CleanImages:
        """The rivals' images: drawn from the training images by the trial's seed."""
        train = self.images[trial.zoo].train
        return CleanImages.draw(train, self.config.num_clean_images, np.random.default_rng([trial.seed, 12]))


@dataclass(frozen=True)
class _AsIfFrom:
    """Scores networks of any zoo as if they read images of the size that the detector's zoo has."""

    detector: NetworkScorer
    zoo: Zoo

    @property
    def threshold(self) -> float:
        return self.detector.threshold

    def score(self, networks: Networks) -> Tensor:
        return self.detector.score(_carried_over(networks, self.zoo))


def _carried_over(networks: Networks, zoo: Zoo) -> Networks:
    """Networks as if they read images of a zoo's size: convolutions and global pooling take any.

    Raises:
        ZoovetError: They differ from the zoo's in more than that.
    """
    for graph in zoo.graphs.values():
        if replace(networks.graph, input_shape=graph.input_shape) == graph:
            return Networks.from_layers(graph, networks.weights, networks.biases)
    raise ZoovetError(
        f"the zoos differ in more than the size of their images, so detectors of {zoo.path} cannot be carried over "
        f"to the graph {networks.graph.graph_id}; leave 'transfer' out of parts"
    )

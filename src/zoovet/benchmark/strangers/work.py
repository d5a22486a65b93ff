"""What a benchmark of strangers consists of: evidence of a base, rivals on a base, one kind left out of training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from zoovet.benchmark.single_network import ReferenceChoice, kept_scores, score_networks
from zoovet.benchmark.strangers.config import StrangerBenchmarkConfig, images_name
from zoovet.evidence.class_features import FEATURES, KINDS, ClassFeatures
from zoovet.files import atomic_path
from zoovet.jobs import Tell
from zoovet.printable import printable
from zoovet.rivals.single_network import SingleNetworkTest, single_network_test
from zoovet.tasks.strangers.efforts import as_sought, evidence_for
from zoovet.tasks.strangers.examined import Examined
from zoovet.tasks.strangers.park_evidence import ImageSets, ParkEvidence, reference_images
from zoovet.tasks.strangers.training import left_out
from zoovet.zoo import Zoo

__all__ = ["EvidenceJob", "Job", "LeftOutJob", "RivalJob", "StrangerWork", "counted", "standings_of"]

_SCHEMA = pa.schema(
    {
        "effort": pa.string(),
        "images": pa.string(),
        "left_out": pa.string(),
        "kind": pa.string(),
        "asked": pa.string(),
        "network_id": pa.string(),
        "base_id": pa.int64(),
        "trojaned": pa.bool_(),
        "target": pa.int64(),
        "target_named": pa.bool_(),
        "logit": pa.float64(),
        "greatest": pa.float64(),
        "mean": pa.float64(),
        "distance": pa.float64(),
        "seconds": pa.float64(),
    }
)
_LONGEST_NAME = 100


@dataclass(frozen=True)
class EvidenceJob:
    """The evidence of one base's networks.

    Attributes:
        images: The name of the reference images that it rests on.
        base_id: Which base.
    """

    images: str
    base_id: int

    def __str__(self) -> str:
        return f"evidence of base {self.base_id}, images {self.images}"


@dataclass(frozen=True)
class RivalJob:
    """All rivals on one base's networks.

    Attributes:
        base_id: Which base.
    """

    base_id: int

    def path(self, out: Path) -> Path:
        """Where their scores lie."""
        return out / "rivals" / f"{self.base_id:05d}.parquet"

    def __str__(self) -> str:
        return f"rivals on base {self.base_id}"


@dataclass(frozen=True)
class LeftOutJob:
    """Readers trained without one kind of networks, and what they say of those.

    Attributes:
        effort: What of the evidence they read.
        by: What kinds are: ``dataset``, ``family``, ``recipe``, ``attack``.
        kind: Which is left out.
        images: Names of the reference images of the evidence that they are asked about.
    """

    effort: str
    by: str
    kind: str
    images: tuple[str, ...]

    def path(self, out: Path, images: str) -> Path:
        """Where answers about one sort of evidence lie."""
        name = quote(self.kind, safe=" ,")
        if len(name) > _LONGEST_NAME:
            name = name[:_LONGEST_NAME] + hashlib.sha256(self.kind.encode()).hexdigest()[:16]
        return out / "left_out" / self.effort / self.by / f"{name}.{images}.parquet"

    def __str__(self) -> str:
        return f"readers without the {self.by} {printable(self.kind)}, effort {self.effort}"


Job = EvidenceJob | RivalJob | LeftOutJob


def counted(zoo: Zoo, min_asr: float) -> Zoo:
    """All networks but trojaned ones whose attack did not work."""
    return zoo.select(~zoo.column("poisoned").astype(bool) | ~(zoo.column("asr") < min_asr))


def standings_of(features: ClassFeatures) -> tuple[float, float]:
    """What needs no training: the greatest of a network's standings, and the greatest of a class's means over searches.

    Args:
        features: What was sought; confusion on reference images is no search.
    """
    searches = [place for place, kind in enumerate(KINDS) if kind != "confusion" and bool(features.present[place])]
    standings = features.values[:, searches, FEATURES.index("margin, own units")]
    return float(standings.max()), float(standings.mean(1).max())


@dataclass(frozen=True)
class StrangerWork:
    """What the jobs of a benchmark have in common.

    Attributes:
        config: Of the benchmark.
        zoo: The park.
        out: Folder of the benchmark.
        data_root: Folder of image datasets; ``None``: the usual one.
        are_elsewhere: Whether jobs are done in processes of their own.
    """

    config: StrangerBenchmarkConfig
    zoo: Zoo
    out: Path
    data_root: Path | None
    are_elsewhere: bool

    def evidence(self, images: str) -> ParkEvidence:
        """Evidence of one sort: of all networks where it is the readers' own, else of the test networks."""
        own = images == images_name(self.config)
        zoo = self.zoo if own else self.zoo.split("test")
        folder = self.config.evidence_place(images, self.out)
        return ParkEvidence(zoo, self.config.by_images[images], folder, self.data_root)

    def rivals_are_done(self, job: RivalJob) -> bool:
        """Whether all rivals have scored all of a base's networks.

        Raises:
            ZoovetError: The file of their scores is none.
        """
        done = {(row["network_id"], row["test"]) for row in kept_scores(job.path(self.out))}
        names = self.rivals_zoo(job.base_id).column("network_id").tolist()
        return all((name, rival) in done for name in names for rival in self.config.rivals)

    def rivals_zoo(self, base_id: int) -> Zoo:
        """The networks of a base that rivals are put to."""
        test = counted(self.zoo.split("test"), self.config.min_asr)
        return test.select(test.column("base_id") == base_id)

    def start(self) -> Callable[[Job, Tell], None]:
        """Called once in each worker."""
        if self.are_elsewhere:
            torch.set_flush_denormal(True)
        worker = _Worker(self)
        return lambda job, _: worker.do(job)


class _Worker:
    """Does one job after another; what several of them read is loaded once."""

    def __init__(self, work: StrangerWork) -> None:
        self._work, self._examined = work, dict[str, list[Examined]]()

    @cached_property
    def _images(self) -> ImageSets:
        return ImageSets(self._work.evidence(images_name(self._work.config)))

    @cached_property
    def _tests(self) -> dict[str, SingleNetworkTest]:
        config = self._work.config
        return {name: single_network_test(name, config.rival_effort) for name in config.rivals}

    @cached_property
    def _targets(self) -> dict[str, int]:
        """A network's target class; −1 where it is healthy, or each class is one."""
        zoo = self._work.zoo
        targets = np.where(zoo.column("poisoned").astype(bool), zoo.column("target"), -1)
        return dict(zip(zoo.column("network_id").tolist(), targets.tolist(), strict=True))

    def do(self, job: Job) -> None:
        """Do one job; what comes of it is a file, whole or not there."""
        if isinstance(job, EvidenceJob):
            park = self._work.evidence(job.images)
            park.folder.mkdir(parents=True, exist_ok=True)
            park.seek(job.base_id, self._images.test)
        elif isinstance(job, RivalJob):
            self._put_rivals(job)
        else:
            self._leave_out(job)

    def _put_rivals(self, job: RivalJob) -> None:
        """Put all rivals to a base's networks, on the images that its evidence rests on."""
        config, zoo = self._work.config, self._work.rivals_zoo(job.base_id)
        images = {
            str(name): reference_images(self._images.test(str(name)), config.detector, job.base_id)
            for name in sorted(set(zoo.column("dataset")))
        }
        reference = ReferenceChoice(images_per_class=config.images_per_class, labelled=config.uses_labels)
        path = job.path(self._work.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        score_networks(zoo, images, self._tests, path, reference=reference)

    def _leave_out(self, job: LeftOutJob) -> None:
        """Train readers without a kind once, and ask them about all evidence of it."""
        config = self._work.config
        own = self._rows(images_name(config))
        of_kind = {row.base_id for row in own if getattr(row, job.by) == job.kind}
        known = [row for row in own if row.split != "test" and row.base_id not in of_kind]
        asked = {
            images: [row for row in self._rows(images) if getattr(row, job.by) == job.kind] for images in job.images
        }
        every = [row for rows in asked.values() for row in rows]
        found = left_out(known, every, config.detector, job.by, effort=job.effort)
        numbers = (found.logits.tolist(), found.named.tolist(), found.distances.tolist())
        answers = list(zip(found.rows, *numbers, strict=True))
        for images, rows in asked.items():
            said = [self._row(job, images, *answer) for answer in answers[: len(rows)]]
            del answers[: len(rows)]
            path = job.path(self._work.out, images)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                pq.write_table(pa.Table.from_pylist(said, schema=_SCHEMA), temporary, compression="zstd")

    def _row(
        self, job: LeftOutJob, images: str, row: Examined, logit: float, named: int, distance: float
    ) -> dict[str, Any]:
        target = self._targets[row.network_id]
        sought = evidence_for(self._work.config.evidence, job.effort)
        greatest, mean = standings_of(as_sought(row.labelled.features, sought))
        return {
            "effort": job.effort,
            "images": images,
            "left_out": job.by,
            "kind": job.kind,
            "asked": "test" if row.split == "test" else "known",
            "network_id": row.network_id,
            "base_id": row.base_id,
            "trojaned": row.labelled.is_trojaned,
            "target": target,
            "target_named": None if target < 0 else named == row.labelled.target,
            "logit": logit,
            "greatest": greatest,
            "mean": mean,
            "distance": distance,
            "seconds": row.seconds,
        }

    def _rows(self, images: str) -> Sequence[Examined]:
        """What was examined on some images; trojaned networks whose attack did not work are left aside."""
        if images not in self._examined:
            rows = self._work.evidence(images).rows()
            self._examined[images] = [row for row in rows if not row.asr < self._work.config.min_asr]
        return self._examined[images]

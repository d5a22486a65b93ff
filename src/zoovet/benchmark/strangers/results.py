"""Results of a benchmark of strangers, read back from its folder: a row a network, and a row a network and rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zoovet.benchmark.single_network import kept_scores
from zoovet.benchmark.strangers.config import StrangerBenchmarkConfig, images_name
from zoovet.benchmark.strangers.running import left_out_jobs
from zoovet.benchmark.strangers.work import RivalJob, counted
from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.zoo import Zoo

__all__ = ["Row", "StrangerResults"]

Row = dict[str, Any]


@dataclass(frozen=True)
class StrangerResults:
    """What is on disk of a benchmark, of the trials that its configuration asks for.

    Attributes:
        config: Of the benchmark.
        out: Its folder.
        zoo: The park.
        rows: A network that was left out: ``effort``, ``images``, ``left_out``, ``kind``, ``asked`` (``known``:
            of training and validation bases; ``test``), ``network_id``, ``base_id``, ``trojaned``, ``target`` (−1:
            none, or all), ``target_named``, scores ``logit`` (ours), ``greatest`` and ``mean`` (standings alone),
            ``distance`` from the training networks, ``seconds`` of a processor.
        rivals: A test network and a rival: ``network_id``, ``test``, ``score`` (``None`` or not finite: refused),
            ``target``, ``seconds``, …
    """

    config: StrangerBenchmarkConfig
    out: Path
    zoo: Zoo
    rows: list[Row] = field(repr=False)
    rivals: list[Row] = field(repr=False)

    @classmethod
    def read(cls, config: StrangerBenchmarkConfig, out: Path, zoo: Zoo) -> StrangerResults:
        """Read what is there.

        Raises:
            ZoovetError: Nothing is there, or a file is damaged.
        """
        rows, rivals = list[Row](), list[Row]()
        for job in left_out_jobs(config, zoo):
            for path in (job.path(out, images) for images in job.images):
                rows += _rows(path) if path.exists() else []
        test = counted(zoo.split("test"), config.min_asr)
        for base_id in sorted(set(test.column("base_id").tolist())):
            rivals += [row for row in kept_scores(RivalJob(base_id).path(out)) if row["test"] in config.rivals]
        if not rows:
            raise ZoovetError(f"{out} holds no results of this benchmark yet; run it without --tables-only")
        return cls(config, out, zoo, rows, rivals)

    def write(self) -> None:
        """Put all rows into ``networks.parquet`` and ``rivals.parquet`` of the benchmark's folder."""
        for name, rows in (("networks", self.rows), ("rivals", self.rivals)):
            if rows:
                with atomic_path(self.out / f"{name}.parquet") as path:
                    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")

    def of(self, by: str, asked: str, *, effort: str | None = None, images: str | None = None) -> list[Row]:
        """Networks that were strangers by something.

        Args:
            by: What was left out.
            asked: ``known`` or ``test``.
            effort: What of the evidence was read; the first effort where nothing is said.
            images: The name of what evidence rests on; the readers' own where nothing is said.
        """
        wanted = {
            "left_out": by,
            "asked": asked,
            "effort": effort or self.config.efforts[0],
            "images": images or images_name(self.config),
        }
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]

    def rival(self, name: str, ours: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """What a rival says of networks, and the rows of ours of the same networks in the same order."""
        of_rival = [row for row in self.rivals if row["test"] == name]
        scored = {row["network_id"]: row for row in of_rival if row["score"] is not None and isfinite(row["score"])}
        own = [row for row in ours if row["network_id"] in scored]
        return [scored[row["network_id"]] for row in own], own


def _rows(path: Path) -> list[Row]:
    try:
        rows: list[Row] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ZoovetError(f"{path} is damaged; remove it, and the same command measures it again") from error
    return rows

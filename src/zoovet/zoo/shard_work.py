"""What workers make of a zoo: shards, each the content of its file, so that any machine may make it for any store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zoovet.jobs import Tell
from zoovet.zoo.builders import Recipe, builder_of, side_by_side_builder_of
from zoovet.zoo.shard_label import ShardLabel
from zoovet.zoo.shards import shard_bytes

__all__ = ["Finished", "MadeShard", "ShardWork", "Shards"]

_Made = Callable[[Iterable[int], Callable[[int], None]], Iterator[tuple[int, list[dict[str, Any]]]]]
"""From numbers of shards, and whom to tell of finished networks, to numbers and rows."""


@dataclass(frozen=True)
class Shards:
    """A job: shards, by their numbers. More than one where networks are trained side by side."""

    indices: tuple[int, ...]


@dataclass(frozen=True)
class Finished:
    """So many networks of a job got done."""

    job: Shards
    num_networks: int


@dataclass(frozen=True)
class MadeShard:
    """A shard of a job is made: its number, and its file's content."""

    job: Shards
    index: int
    data: bytes


@dataclass(frozen=True)
class ShardWork:
    """How shards are made; what workers give is told (:class:`Finished`, :class:`MadeShard`).

    Attributes:
        recipe: Of the zoo.
        data_root: Where image datasets lie.
        side_by_side: The device on which all networks are trained at once; ``None``: one after another.
        fingerprint: Of the recipe, for the shards' labels.
    """

    recipe: Recipe
    data_root: Path | None
    side_by_side: str | None
    fingerprint: str

    def start(self) -> Callable[[Shards, Tell], None]:
        """See :meth:`zoovet.jobs.Work.start`."""
        return partial(
            self._make, self._one_by_one() if self.side_by_side is None else self._at_once(self.side_by_side)
        )

    def _make(self, made: _Made, job: Shards, tell: Tell) -> None:
        for index, rows in made(job.indices, lambda count: tell(Finished(job, count))):
            tell(MadeShard(job, index, shard_bytes(rows, ShardLabel(self.fingerprint, index))))

    def _one_by_one(self) -> _Made:
        builder = builder_of(self.recipe, self.data_root)
        return lambda indices, finished: ((index, builder.build_shard(index, finished)) for index in indices)

    def _at_once(self, device: str) -> _Made:
        torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as on processors
        return side_by_side_builder_of(self.recipe, self.data_root, device).build_shards

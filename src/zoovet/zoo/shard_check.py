"""Whether a shard that lies in a zoo's folder is the one that belongs there, whole: before it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoovet.zoo.shard_label import ShardLabel, label_of
from zoovet.zoo.shards import ShardError, ShardInfo, facts_of, read_shard_bytes

__all__ = ["CheckedShard", "Mismatch", "check_shard"]

Mismatch = Callable[[int, Mapping[str, NDArray[Any]]], str]
"""Given a shard's number and its columns but the weights: what in them no such shard can have, else ``""``."""


@dataclass(frozen=True)
class CheckedShard:
    """What was found in a shard's place.

    Attributes:
        info: The shard, where it may be kept.
        fault: What is wrong with it, in words; empty where nothing is, or where nothing lies there.
        label: What an intact shard says of itself.
    """

    info: ShardInfo | None = None
    fault: str = ""
    label: ShardLabel | None = None


def check_shard(path: Path, listed: ShardInfo | None, expected: ShardLabel, mismatch: Mismatch) -> CheckedShard:
    """Check a shard's bytes against the checksum in ``zoo.json``, or its own, and its content against the recipe.

    A shard without any checksum, left by a killed build of an earlier version, is neither kept nor a fault: it is made
    again.

    Args:
        path: Its place.
        listed: What ``zoo.json`` says of it, where it does.
        expected: Which shard belongs there.
        mismatch: What in its columns cannot be of that shard.
    """
    if not path.exists() and not path.is_symlink():
        return CheckedShard()
    try:
        data = read_shard_bytes(path)
        label, is_intact = label_of(data)
        if label is not None and is_intact and label != expected:
            return CheckedShard(fault=_other(label, expected), label=label)
        if is_intact is False or (listed is not None and hashlib.sha256(data).hexdigest() != listed.sha256):
            return CheckedShard(fault="has the wrong checksum", label=label if is_intact else None)
        info = ShardInfo.of_bytes(path, data)
        fault = mismatch(expected.index, facts_of(path, data))
        if not fault and listed is not None and info != listed:
            fault = f"has {info.num_networks} networks, expected {listed.num_networks}"
    except ShardError as error:
        return CheckedShard(fault=error.what)
    is_kept = not fault and (listed is not None or is_intact is True)
    return CheckedShard(info=info if is_kept else None, fault=fault, label=label)


def _other(label: ShardLabel, expected: ShardLabel) -> str:
    return f"is shard {label.index} of this zoo" if label.recipe == expected.recipe else "is a shard of another zoo"

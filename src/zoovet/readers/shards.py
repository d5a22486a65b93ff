"""A state dict in several files, as large models have it: an index says which tensors are in which file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.loaded import Loaded
from zoovet.readers.opening import load_file

__all__ = ["load_shards"]

_MAX_SHARDS = 1000


def load_shards(index: Path, shards: Mapping[str, Sequence[str]]) -> Loaded:
    """All tensors of a sharded state dict, in the order of the files' names.

    Args:
        index: The index file.
        shards: Names of the tensors in each file.

    Returns:
        The data by name; without the shards' metadata, which each has of its own.

    Raises:
        ZoovetError: A shard is missing, elsewhere, or not what the index says.
    """
    source = printable(index)
    if len(shards) > _MAX_SHARDS:
        raise ZoovetError(f"{source} names {len(shards):,} files; at most {_MAX_SHARDS:,} are read")
    data: dict[str, Any] = {}
    odd_tensors: dict[str, str] = {}
    are_safetensors = True
    for name in sorted(shards):
        loaded = load_file(_beside(index, name))
        found, shown = loaded.data, printable(name, 80)
        if not isinstance(found, dict):
            raise ZoovetError(f"{source}: its shard '{shown}' is no state dict")
        missing = [tensor for tensor in shards[name] if tensor not in found]
        twice = [tensor for tensor in found if tensor in data]
        if missing or twice:
            what = f"lacks '{printable(missing[0], 80)}'" if missing else f"has '{printable(twice[0], 80)}' once more"
            raise ZoovetError(f"{source}: its shard '{shown}' {what}; get the files anew")
        data |= found
        odd_tensors |= loaded.odd_tensors
        are_safetensors = are_safetensors and loaded.metadata is not None
    return Loaded(data=data, metadata={} if are_safetensors else None, odd_tensors=odd_tensors)


def _beside(index: Path, name: str) -> Path:
    """A shard's path.

    It must lie where the index does, by its name or, for download caches that keep all files in one folder and link to
    them, where the link leads to.
    """
    shard = index.parent / name
    folders = {index.parent.resolve(), index.resolve().parent}
    if shard.resolve().parent not in folders:
        raise ZoovetError(f"{printable(index)} is unsafe: its shard '{printable(name, 80)}' is a link to elsewhere")
    return shard

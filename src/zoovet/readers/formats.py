"""The tensors of a weight file, whatever its format, without running code that may be in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.opening import folder_index, load_file
from zoovet.readers.shards import load_shards
from zoovet.readers.wrappings import unwrapped

__all__ = ["read_content"]


def read_content(path: Path) -> FileContent:
    """Read a weight file, known by what is in it: safetensors, or ``torch.save`` (zip or the older format).

    A file may come from a stranger: it is read in a process of its own (:mod:`.isolation`). Of the index of a sharded
    state dict, or a folder with one, all shards are read.

    Raises:
        ZoovetError: The file is missing, no regular file, damaged, not a weight file, or has code in it, which is not
            run; or a tensor is not one of dense numbers.
    """
    path = folder_index(path) if os.path.isdir(path) else path
    loaded = load_file(path)
    if loaded.shards is not None:
        loaded = load_shards(path, loaded.shards)
    if loaded.metadata is None:
        content = unwrapped(loaded.data, printable(path))
    else:
        content = FileContent(tensors=loaded.data, metadata=loaded.metadata, ordered=False)
    _require_dense(content.tensors, loaded.odd_tensors, path)
    return content


def _require_dense(tensors: Mapping[str, Tensor], odd_tensors: Mapping[str, str], path: Path) -> None:
    """Refuse what has a meta tensor's place because it has no dense numbers; it says what it is instead."""
    for name, tensor in tensors.items():
        if tensor.is_meta:
            what = next((odd_tensors[end] for end in odd_tensors if name.endswith(end)), "a meta tensor")
            raise ZoovetError(
                f"{printable(path)}: tensor '{printable(name, 60)}' is {what}; "
                "weights are dense real numbers of 16 to 64 bits"
            )

"""The tensors of a weight file, whatever its format, without running code that may be in it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.exported import network_of_export
from zoovet.readers.keras import network_of_keras
from zoovet.readers.loaded import GraphData
from zoovet.readers.network_file import GraphFile, NetworkFile
from zoovet.readers.onnx import network_of_onnx
from zoovet.readers.opening import folder_index, load_file
from zoovet.readers.shards import load_shards
from zoovet.readers.tflite import network_of_tflite
from zoovet.readers.torchscript import network_of_torchscript
from zoovet.readers.wrappings import unwrapped

__all__ = ["content_of_bytes", "read_content"]

_NETWORK_OF = {
    "Keras": network_of_keras,
    "TFLite": network_of_tflite,
    "TorchScript": network_of_torchscript,
    "torch.export": network_of_export,
}
"""Format → what reads its files, of those that hold all numbers themselves."""


def read_content(path: Path) -> FileContent:
    """Read a file, known by what is in it: safetensors, ``torch.save`` (zip or the older format), or one with a graph.

    A file may come from a stranger: it is read in a process of its own (:mod:`.isolation`). Of the index of a sharded
    state dict, or a folder with one, all shards are read. Of files that say their network's graph, that graph is read
    when it is asked for.

    Raises:
        ZoovetError: The file is missing, no regular file, damaged, not a weight file, or has code in it, which is not
            run; or a tensor is not one of dense numbers.
    """
    return _read(path, path.parent)


def content_of_bytes(data: bytes, source: str) -> FileContent:
    """The same of what is in a file.

    Args:
        data: All of it.
        source: What messages call it.

    Raises:
        ZoovetError: As in :func:`read_content`, or it needs other files, which bytes have none beside them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        try:
            return _read(path, None, source)
        except ZoovetError as error:
            raise ZoovetError(str(error).replace(printable(path), source)) from None


def _read(path: Path, beside: Path | None, source: str | None = None) -> FileContent:
    path = folder_index(path) if os.path.isdir(path) else path
    loaded = load_file(path)
    if loaded.graph is not None:
        return FileContent(tensors={}, graph=_graph_file(loaded.graph, beside, source or printable(path)))
    if loaded.shards is not None:
        loaded = load_shards(path, loaded.shards)
    if loaded.metadata is None:
        content = unwrapped(loaded.data, printable(path))
    else:
        content = FileContent(tensors=loaded.data, metadata=loaded.metadata, ordered=False)
    _require_dense(content.tensors, loaded.odd_tensors, path)
    return replace(content, stored=loaded.stored)


def _graph_file(graph: GraphData, beside: Path | None, source: str) -> GraphFile:
    def read(input_shape: tuple[int, ...] | None, output: int | None) -> NetworkFile:
        if graph.format_name == "ONNX":  # whose numbers may lie beside it
            return network_of_onnx(graph, input_shape, output=output, folder=beside, source=source)
        return _NETWORK_OF[graph.format_name](graph, input_shape, output=output, source=source)

    return GraphFile(data=graph, read=read)


def _require_dense(tensors: Mapping[str, Tensor], odd_tensors: Mapping[str, str], path: Path) -> None:
    """Refuse what has a meta tensor's place because it has no dense numbers; it says what it is instead."""
    for name, tensor in tensors.items():
        if tensor.is_meta:
            what = next((odd_tensors[end] for end in odd_tensors if name.endswith(end)), "a meta tensor")
            raise ZoovetError(
                f"{printable(path)}: tensor '{printable(name, 60)}' is {what}; "
                "weights are dense real numbers of 16 to 64 bits"
            )

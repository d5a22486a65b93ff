"""Opening what a path leads to, with care: regular files only, then what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.isolation import describe_file
from zoovet.readers.loaded import GraphData, Loaded, data_of
from zoovet.text_files import open_regular

__all__ = ["folder_index", "graph_data_of", "load_file"]

_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_CONVERT = "which is not read; load it with its library and save its arrays with safetensors"
_FOLDERS = {
    "saved_model.pb": f"a TensorFlow SavedModel, {_CONVERT}",
    "keras_metadata.pb": "a Keras SavedModel, which is not read; save it as one file: model.save('model.keras')",
    "checkpoint": f"a TensorFlow checkpoint, {_CONVERT}",
    "Manifest.json": f"a Core ML package, {_CONVERT}",
}


def load_file(path: Path) -> Loaded:
    """What a file holds.

    Raises:
        ZoovetError: It is missing, may not be read, no regular file, damaged, or no weight file.
    """
    source = printable(path)
    with _opened(path, source) as (descriptor, file_bytes):
        answer = describe_file(descriptor, file_bytes, source)
        return data_of(answer, descriptor, file_bytes, source)


def graph_data_of(path: Path, format_name: str) -> GraphData:
    """What a file of a format holds that says its network's graph.

    Args:
        path: The file.
        format_name: ``ONNX``, ``Keras``, ``torch.export``, ``TorchScript`` or ``TFLite``.

    Raises:
        ZoovetError: As in :func:`load_file`, or it is of another format.
    """
    graph = load_file(path).graph
    if graph is None or graph.format_name != format_name:
        what = "a weight file" if graph is None else f"one of {graph.format_name}"
        raise ZoovetError(f"{printable(path)} is no {format_name} file, but {what}; zoovet.read reads it")
    return graph


def folder_index(folder: Path) -> Path:
    """The index of a sharded state dict in a folder.

    Raises:
        ZoovetError: There is none; the message says what the folder is.
    """
    source = printable(folder)
    try:
        names = set(os.listdir(folder))
    except OSError as error:
        raise ZoovetError(f"{source} cannot be read: {error.strerror}") from error
    for name in _INDICES:
        if name in names:
            return folder / name
    for name, what in _FOLDERS.items():
        if name in names:
            raise ZoovetError(f"{source} is {what}")
    raise ZoovetError(f"{source} cannot be read: it is a folder; give the weight files in it")


@contextmanager
def _opened(path: Path, source: str) -> Iterator[tuple[int, int]]:
    """A regular file's descriptor and size."""
    try:
        descriptor = open_regular(path)
    except FileNotFoundError as error:
        raise ZoovetError(f"{source} does not exist") from error
    except OSError as error:
        raise ZoovetError(f"{source} cannot be read: {error.strerror or printable(error)}") from error
    except ValueError as error:  # a NUL or a lone surrogate in its name
        raise ZoovetError(f"{source} does not exist: a file cannot have this name") from error
    try:
        yield descriptor, os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)

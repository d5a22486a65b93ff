"""Reading a TensorFlow Lite file: what the reading process found in it becomes a graph and its weights."""

from __future__ import annotations

from pathlib import Path

from zoovet.printable import printable
from zoovet.readers.exported.file_errors import naming_the_file
from zoovet.readers.first_operations import take_first_operations
from zoovet.readers.loaded import GraphData
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.opening import graph_data_of
from zoovet.readers.tflite.model import read_model
from zoovet.readers.tflite.program import read_program

__all__ = ["network_of_tflite", "read_tflite"]


def read_tflite(
    path: str | Path, input_shape: tuple[int, ...] | None = None, *, output: int | None = None
) -> NetworkFile:
    """Read a ``.tflite`` file of an image classifier; nothing in it is run, TensorFlow is not needed.

    Operations at the input that scale it become the graph's input scaling.

    Args:
        path: The file.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open.
        output: Which output to read, from 0, where there are several.

    Returns:
        One network in float32 that reads images channels first, and notes on how it was read.

    Raises:
        UnknownOperation: The file has an operator that graphs have no operation for, or is quantized; the message names
            the operator and what it makes.
        ZoovetError: The file cannot be read, is damaged, quantized, or none of TensorFlow Lite.
    """
    return network_of_tflite(graph_data_of(Path(path), "TFLite"), input_shape, output=output, source=printable(path))


def network_of_tflite(
    data: GraphData, input_shape: tuple[int, ...] | None = None, *, output: int | None = None, source: str
) -> NetworkFile:
    """The network of a TensorFlow Lite file that was opened.

    Args:
        data: What it holds.
        input_shape: As in :func:`read_tflite`.
        output: As in :func:`read_tflite`.
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: As in :func:`read_tflite`.
        ZoovetError: As in :func:`read_tflite`.
    """
    with naming_the_file(source):
        given = None if input_shape is None else tuple(input_shape)
        networks, notes = read_program(data, read_model(data), given, output)
        networks.require_finite("its weights")
        networks, note = take_first_operations(networks)
    return NetworkFile(networks=networks, notes=(*notes, *(() if note is None else (note,))))

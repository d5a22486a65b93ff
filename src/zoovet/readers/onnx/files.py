"""Reading an ONNX file: what the reading process found in it becomes a graph and its weights."""

from __future__ import annotations

from pathlib import Path

from zoovet.printable import printable
from zoovet.readers.exported.file_errors import naming_the_file
from zoovet.readers.first_operations import take_first_operations
from zoovet.readers.loaded import GraphData
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.onnx.external import ExternalData
from zoovet.readers.onnx.model import read_model
from zoovet.readers.onnx.program import read_program
from zoovet.readers.opening import graph_data_of

__all__ = ["network_of_onnx", "read_onnx"]


def read_onnx(
    path: str | Path, input_shape: tuple[int, ...] | None = None, *, output: int | None = None
) -> NetworkFile:
    """Read an ONNX file of opset 9 to 28; nothing in it is run.

    Batch norms stay operations of their own (:func:`zoovet.networks.fold_batch_norms` folds them). Operations at the
    input that scale it become the graph's input scaling. Numbers that the file keeps in others are read from regular
    files in its folder, or below it, alone.

    Args:
        path: The file.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open.
        output: Which output to read, from 0, where there are several.

    Returns:
        One network in float32, and notes on how it was read.

    Raises:
        UnknownOperation: The file has an operation that graphs have none for; the message names it and its node.
        ZoovetError: The file cannot be read, is damaged or none of ONNX.
    """
    data = graph_data_of(Path(path), "ONNX")
    return network_of_onnx(data, input_shape, output=output, folder=Path(path).parent, source=printable(path))


def network_of_onnx(
    data: GraphData,
    input_shape: tuple[int, ...] | None = None,
    *,
    output: int | None = None,
    folder: Path | None = None,
    source: str,
) -> NetworkFile:
    """The network of an ONNX file that was opened.

    Args:
        data: What it holds.
        input_shape: As in :func:`read_onnx`.
        output: As in :func:`read_onnx`.
        folder: Where external data may lie; ``None`` refuses it.
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: As in :func:`read_onnx`.
        ZoovetError: As in :func:`read_onnx`.
    """
    with naming_the_file(source):
        given = None if input_shape is None else tuple(input_shape)
        model = read_model(data, ExternalData(folder), given)
        networks, notes = read_program(model, given, output)
        networks.require_finite("its weights")
        networks, note = take_first_operations(networks)
    return NetworkFile(networks=networks, notes=(*model.notes, *notes, *(() if note is None else (note,))))

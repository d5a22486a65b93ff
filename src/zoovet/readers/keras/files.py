"""Reading a Keras file: what the reading process found in it becomes a graph and its weights."""

from __future__ import annotations

from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.file_errors import naming_the_file
from zoovet.readers.first_operations import take_first_operations
from zoovet.readers.keras.model import read_model
from zoovet.readers.keras.program import read_program
from zoovet.readers.keras.weights import layer_tensors
from zoovet.readers.loaded import GraphData
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.opening import graph_data_of

__all__ = ["network_of_keras", "read_keras"]


def read_keras(path: str | Path, input_shape: tuple[int, ...] | None = None) -> NetworkFile:
    """Read a ``.keras`` file or an ``.h5`` file of a whole model; nothing in it is run, TensorFlow is not needed.

    Args:
        path: The file.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open.

    Returns:
        One network in float32 that reads images channels first, and notes on how it was read.

    Raises:
        UnknownOperation: A layer has no counterpart in graphs; the message names it.
        ZoovetError: The file cannot be read, is damaged, holds code, or none of Keras; or h5py is not installed.
    """
    return network_of_keras(graph_data_of(Path(path), "Keras"), input_shape, source=printable(path))


def network_of_keras(
    data: GraphData, input_shape: tuple[int, ...] | None = None, *, output: int | None = None, source: str
) -> NetworkFile:
    """The network of a Keras file that was opened.

    Args:
        data: What it holds.
        input_shape: As in :func:`read_keras`.
        output: Which of several outputs, from 0.
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: As in :func:`read_keras`.
        ZoovetError: As in :func:`read_keras`.
    """
    described = data.description
    with naming_the_file(source):
        if described["config"] is None:
            raise ZoovetError("it holds weights without their layers; save the whole model: model.save('model.keras')")
        model = read_model(described["config"], output)
        is_of_keras_2 = described["keras_version"].startswith("2.")
        networks = read_program(model, layer_tensors(data, model.layers), input_shape, is_of_keras_2=is_of_keras_2)
        networks.require_finite("its weights")
        networks, note = take_first_operations(networks)
    return NetworkFile(networks=networks, notes=() if note is None else (note,))

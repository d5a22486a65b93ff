"""Reading an ONNX file: bytes, checked and parsed, become a graph and its weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.onnx.external import ExternalData
from zoovet.readers.onnx.input_scaling import take_first_operations
from zoovet.readers.onnx.model import read_model
from zoovet.readers.onnx.program import read_program
from zoovet.readers.onnx.wire import require_bounded
from zoovet.text_files import open_regular

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["network_from_onnx", "read_onnx"]

_MAX_BYTES = 2**31 - 1
"""What a protobuf may weigh."""


def read_onnx(
    path: str | Path, input_shape: tuple[int, ...] | None = None, *, output: str | None = None
) -> NetworkFile:
    """Read an ONNX file of opset 9 to 28; nothing in it is run.

    Batch norms stay operations of their own (:func:`zoovet.networks.fold_batch_norms` folds them). Operations at the
    input that scale it become the graph's input scaling. Numbers that the file keeps in others are read from regular
    files in its folder, or below it, alone.

    Args:
        path: The file.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open.
        output: The name of the output to read, where there are several.

    Returns:
        One network in float32, and notes on how it was read.

    Raises:
        UnknownOperation: The file has an operation that graphs have none for; the message names it and its node.
        ZoovetError: The file cannot be read, is damaged or none of ONNX; or onnx is not installed.
    """
    source = printable(path)
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        raise ZoovetError(f"{source} does not exist") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ZoovetError(f"{source} cannot be read: {printable(reason)}") from None
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_BYTES:
            raise ZoovetError(f"{source} is larger than 2 GB, what an ONNX file may weigh; save it with external data")
        data = file.read(_MAX_BYTES + 1)
    return network_from_onnx(data, input_shape, output=output, folder=Path(path).parent, source=source)


def network_from_onnx(
    data: bytes,
    input_shape: tuple[int, ...] | None = None,
    *,
    output: str | None = None,
    folder: Path | None = None,
    source: str = "the ONNX file",
) -> NetworkFile:
    """Read the bytes of an ONNX file.

    Args:
        data: All of them.
        input_shape: As in :func:`read_onnx`.
        output: As in :func:`read_onnx`.
        folder: Where external data may lie; ``None`` refuses it.
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: As in :func:`read_onnx`.
        ZoovetError: As in :func:`read_onnx`.
    """
    try:
        model = read_model(_parsed(data), ExternalData(folder))
        networks, notes = read_program(model, None if input_shape is None else tuple(input_shape), output)
        networks.require_finite("its weights")
        networks, note = take_first_operations(networks)
    except UnknownOperation as error:
        raise UnknownOperation(error.operation, error.place, error.why, source) from None
    except ZoovetError as error:
        raise ZoovetError(f"{source}: {error}") from None
    return NetworkFile(networks=networks, notes=(*model.notes, *notes, *(() if note is None else (note,))))


def _parsed(data: bytes) -> ModelProto:
    """What protobuf makes of the bytes."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ZoovetError("reading ONNX files needs onnx: pip install 'zoovet[onnx]'") from None
    require_bounded(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ZoovetError("it is no ONNX file, or it is damaged") from None
    return model

"""Reading a Keras file: the layers' graph is in its JSON, the numbers in HDF5."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.keras.model import Layer, layers_of
from zoovet.readers.keras.program import read_program
from zoovet.readers.keras.weights import group_at, layer_tensors, stored_tensors
from zoovet.readers.network_file import NetworkFile
from zoovet.readers.onnx.input_scaling import take_first_operations
from zoovet.text_files import open_regular

__all__ = ["read_keras"]

_MAX_BYTES = 2**31 - 1
_MAX_CONFIG = 16 * 2**20
_MAX_NUMBERS = 2**29
_HDF5 = b"\x89HDF\r\n\x1a\n"


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
    source = printable(path)
    data = _bytes_of(path, source)
    try:
        layers, tensors = _parsed(data)
        networks = read_program(layers, tensors, input_shape)
        networks.require_finite("its weights")
        networks, note = take_first_operations(networks)
    except UnknownOperation as error:
        raise UnknownOperation(error.operation, error.place, error.why, source) from None
    except ZoovetError as error:
        raise ZoovetError(f"{source}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError, RuntimeError) as error:
        raise ZoovetError(f"{source}: it is damaged, or no Keras file: {printable(str(error), 120)}") from None
    return NetworkFile(networks=networks, notes=() if note is None else (note,))


def _bytes_of(path: str | Path, source: str) -> bytes:
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        raise ZoovetError(f"{source} does not exist") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ZoovetError(f"{source} cannot be read: {printable(reason)}") from None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ZoovetError(f"{source} is larger than 2 GB")
    return data


def _parsed(data: bytes) -> tuple[list[Layer], dict[str, list[Tensor]]]:
    """Layers, and the tensors of each by its name."""
    try:
        import h5py
    except ImportError:
        raise ZoovetError("reading Keras files needs h5py: pip install 'zoovet[keras]'") from None
    if data.startswith(b"PK"):
        config, stored = _unzipped(data)
        layers = layers_of(config)
        with h5py.File(io.BytesIO(stored), "r") as file:
            return layers, _of_keras(file, layers)
    if not data.startswith(_HDF5):
        raise ZoovetError("it is neither a .keras nor an .h5 file")
    with h5py.File(io.BytesIO(data), "r") as file:
        text = file.attrs.get("model_config")
        if text is None:
            raise ZoovetError("it holds weights without their layers; save the whole model: model.save('model.keras')")
        layers = layers_of(_json(text))
        found = {layer.name: group_at(file, f"model_weights/{layer.name}") for layer in layers}
        return layers, _bounded(found, stored_tensors)


def _of_keras(file: Any, layers: list[Layer]) -> dict[str, list[Tensor]]:
    for root in ("layers", "_layer_checkpoint_dependencies"):
        if group_at(file, root) is not None:
            found = {layer.name: group_at(file, f"{root}/{layer.stored_as}") for layer in layers}
            return _bounded(found, layer_tensors)
    return {}


def _bounded(found: dict[str, Any], read: Callable[[Any], list[Tensor]]) -> dict[str, list[Tensor]]:
    """The tensors of the layers that the file has a group for."""
    tensors, numbers = {}, 0
    for name, group in found.items():
        if group is not None:
            tensors[name] = read(group)
            numbers += sum(tensor.numel() for tensor in tensors[name])
        if numbers > _MAX_NUMBERS:
            raise ZoovetError(f"it holds more than {_MAX_NUMBERS} numbers")
    return tensors


def _json(text: str | bytes) -> Any:
    if len(text) > _MAX_CONFIG:
        raise ZoovetError("its layers' description is larger than 16 MB")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ZoovetError("its layers' description is no JSON") from None


def _unzipped(data: bytes) -> tuple[Any, bytes]:
    parts = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name, limit in (("config.json", _MAX_CONFIG), ("model.weights.h5", _MAX_BYTES)):
                info = archive.getinfo(name)
                if info.file_size > limit or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ZoovetError(f"its entry {name} is too large, or packed in an unusual way")
                with archive.open(info) as entry:
                    parts.append(entry.read(limit))
    except KeyError as error:
        raise ZoovetError(f"it is a zip file but no Keras file: {printable(str(error), 80)}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise ZoovetError("it is damaged") from None
    return _json(parts[0]), parts[1]

"""The tensors of an ONNX file: where their numbers lie, and that there are as many as they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.values import Constant
from zoovet.readers.loaded import GraphData
from zoovet.readers.onnx.external import ExternalData

__all__ = ["Numbers", "dtype_name"]

_NAMES = (
    *("undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("double", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz"),
    *("float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1", "float8e8m0"),
)
_STORED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "float": ("<f4", "4"),
        "double": ("<f8", "10"),
        "float16": ("<u2", "5"),
        "bfloat16": ("<u2", "5"),
        "bool": ("u1", "5"),
        "uint8": ("u1", "5"),
        "int8": ("i1", "5"),
        "uint16": ("<u2", "5"),
        "int16": ("<i2", "5"),
        "int32": ("<i4", "5"),
        "int64": ("<i8", "7"),
        "uint32": ("<u4", "11"),
    }
)
"""Name of a type → how its numbers lie in bytes, and the number of the field that lists them otherwise."""
_LISTED = {"4": "<f4", "10": "<f8", "5": "<i8", "7": "<i8", "11": "<u8"}
"""Number of a field → how the reading process keeps its numbers."""
_MAX_AXES = 16


def dtype_name(number: int) -> str:
    """ONNX's name of a type of numbers."""
    return _NAMES[number] if 0 <= number < len(_NAMES) else f"type {number}"


class Numbers:
    """Where the tensors of a file have their numbers.

    Args:
        graph: What the file holds.
        external: Files beside it.
    """

    def __init__(self, graph: GraphData, external: ExternalData) -> None:
        self._graph, self._external = graph, external
        self.notes: dict[str, None] = {}
        """A line for each way in which numbers were converted."""

    def read(self, described: Mapping[str, Any], name: str) -> Constant:
        """A tensor as float32, int64 or bool.

        Args:
            described: As the reading process says it.
            name: What it is called.

        Raises:
            ZoovetError: It has another type, another number of numbers than its shape says, or floats beyond float32.
        """
        what = f"the tensor '{printable(name, 80)}'"
        dtype, shape = dtype_name(described["dtype"]), tuple(described["dims"])
        if dtype not in _STORED:
            raise ZoovetError(f"{what} is of {dtype}; weights are dense real numbers of 16 to 64 bits")
        if min(shape, default=0) < 0 or len(shape) > _MAX_AXES:
            raise ZoovetError(f"{what} has the shape {printable(list(shape), 80)}, which is none")
        if described["segmented"]:
            raise ZoovetError(f"{what} is stored in segments, which is not read")
        tensor = _converted(self._numbers(described, dtype, math.prod(shape), what), dtype, what)
        if tensor.is_floating_point() and dtype != "float":
            self.notes[f"weights of {dtype} are read as float32"] = None
        return Constant(tensor.reshape(shape), name, tensor.is_floating_point() and tensor.ndim > 0)

    def _numbers(
        self, described: Mapping[str, Any], dtype: str, count: int, what: str
    ) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        layout, field = _STORED[dtype]
        kind = np.dtype(layout)
        if described["external"] is not None:
            return np.frombuffer(self._external.read(described["external"], count * kind.itemsize, what), kind)
        if described["raw"] is not None:
            _, start, size = described["raw"]
            if size != count * kind.itemsize:
                shown = printable(described["dims"], 80)
                raise ZoovetError(
                    f"{what} says {shown} numbers of {dtype}, {count * kind.itemsize} bytes, and has {size}"
                )
            return np.frombuffer(self._graph.file, kind, count, start) if count else np.empty(0, kind)
        listed = np.dtype(_LISTED[field])
        _, start, size = described["listed"].get(field, ("blob", 0, 0))
        if size != count * listed.itemsize:
            shown, has = printable(described["dims"], 80), size // listed.itemsize
            raise ZoovetError(f"{what} says {shown} numbers, {count} in all, and has {has}")
        numbers = np.frombuffer(self._graph.blob, listed, count, start) if count else np.empty(0, listed)
        if kind.kind in "iu" and count and not _fits(numbers, kind):
            raise ZoovetError(f"{what} has numbers beyond {dtype}")
        return numbers.astype(kind)


def _fits(numbers: np.ndarray[tuple[int], np.dtype[np.generic]], kind: np.dtype[Any]) -> bool:
    """Whether listed integers are in the range of a type; unsigned ones of 16 bits may be listed as signed."""
    limits = np.iinfo(kind)
    return limits.min <= int(numbers.min()) and int(numbers.max()) <= limits.max


def _converted(numbers: np.ndarray[tuple[int], np.dtype[np.generic]], dtype: str, what: str) -> Tensor:
    if dtype == "float16":
        return torch.from_numpy(numbers.view(np.float16).astype(np.float32))
    if dtype == "bfloat16":
        return torch.from_numpy((numbers.astype(np.uint32) << 16).view(np.float32))
    if dtype == "bool":
        return torch.from_numpy(numbers.astype(bool))
    if dtype not in ("float", "double"):
        return torch.from_numpy(numbers.astype(np.int64))
    with np.errstate(over="ignore"):
        floats = numbers.astype(np.float32)
    if dtype == "double" and bool((np.isfinite(numbers) & ~np.isfinite(floats)).any()):
        raise ZoovetError(f"{what} has numbers beyond float32")
    return torch.from_numpy(floats)

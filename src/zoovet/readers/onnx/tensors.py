"""The tensors of an ONNX file: where their numbers lie, and that there are as many as they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.readers.exported.values import Constant
from zoovet.readers.onnx.external import ExternalData

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["dtype_name", "read_tensor", "text"]

_NAMES = (
    *("undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("double", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz"),
    *("float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1", "float8e8m0"),
)
_STORED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "float": ("<f4", "float_data"),
        "double": ("<f8", "double_data"),
        "float16": ("<u2", "int32_data"),
        "bfloat16": ("<u2", "int32_data"),
        "bool": ("u1", "int32_data"),
        "uint8": ("u1", "int32_data"),
        "int8": ("i1", "int32_data"),
        "uint16": ("<u2", "int32_data"),
        "int16": ("<i2", "int32_data"),
        "int32": ("<i4", "int32_data"),
        "int64": ("<i8", "int64_data"),
        "uint32": ("<u4", "uint64_data"),
    }
)
"""Name of a type → how its numbers lie in bytes, and the field that has them otherwise."""
_EXTERNAL = 1
_MAX_AXES = 16


def text(value: object) -> str:
    """A text as protobuf gives it.

    Raises:
        ZoovetError: It is none in UTF-8, for which protobuf gives bytes.
    """
    if not isinstance(value, str):
        raise ZoovetError("a name in it is no text in UTF-8: it is damaged")
    return value


def dtype_name(number: int) -> str:
    """ONNX's name of a type of numbers."""
    return _NAMES[number] if 0 <= number < len(_NAMES) else f"type {number}"


def read_tensor(proto: TensorProto, name: str, external: ExternalData, notes: dict[str, None]) -> Constant:
    """A tensor as float32, int64 or bool.

    Args:
        proto: As protobuf parsed it.
        name: What it is called.
        external: Files beside the file.
        notes: Gets a line where numbers were converted.

    Raises:
        ZoovetError: It has another type, another number of numbers than its shape says, or floats beyond float32.
    """
    what = f"the tensor '{printable(name, 80)}'"
    dtype, shape = dtype_name(proto.data_type), tuple(map(int, proto.dims))
    if dtype not in _STORED:
        raise ZoovetError(f"{what} is of {dtype}; weights are dense real numbers of 16 to 64 bits")
    if min(shape, default=0) < 0 or len(shape) > _MAX_AXES:
        raise ZoovetError(f"{what} has the shape {printable(list(shape), 80)}, which is none")
    if proto.HasField("segment"):
        raise ZoovetError(f"{what} is stored in segments, which is not read")
    numbers = _numbers(proto, dtype, math.prod(shape), what, external)
    tensor = _converted(numbers, dtype, what)
    if tensor.is_floating_point() and dtype != "float":
        notes[f"weights of {dtype} are read as float32"] = None
    return Constant(tensor.reshape(shape), name, tensor.is_floating_point() and tensor.ndim > 0)


def _numbers(
    proto: TensorProto, dtype: str, count: int, what: str, external: ExternalData
) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    layout, field = _STORED[dtype]
    kind = np.dtype(layout)
    if proto.data_location == _EXTERNAL:
        where = {text(entry.key): text(entry.value) for entry in proto.external_data}
        return np.frombuffer(external.read(where, count * kind.itemsize, what), kind)
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != count * kind.itemsize:
            raise ZoovetError(
                f"{what} says {list(proto.dims)} numbers of {dtype}, {count * kind.itemsize} bytes, and has "
                f"{len(proto.raw_data)}"
            )
        return np.frombuffer(proto.raw_data, kind)
    values = getattr(proto, field)
    if len(values) != count:
        raise ZoovetError(f"{what} says {list(proto.dims)} numbers, {count} in all, and has {len(values)}")
    try:
        return np.array(values, dtype=np.int64 if kind.kind in "iu" else kind).astype(kind)
    except (OverflowError, ValueError):
        raise ZoovetError(f"{what} has numbers beyond {dtype}") from None


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

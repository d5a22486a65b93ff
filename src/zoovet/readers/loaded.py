"""What a file holds as Python's data, made of the description that the reading process gives and the file's bytes.

Dictionaries, lists (tuples and sets too), texts, numbers, bytes; ``torch.Tensor`` for dense tensors, ``numpy.ndarray``
for NumPy's; :class:`ForeignObject` for whatever else a pickle held. A tensor that has no dense numbers to compute with
is there as a meta tensor, and what it is stands beside the data.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.readers.isolation import Answer
from zoovet.readers.parsing.kinds import said_in_parentheses

__all__ = ["ForeignObject", "GraphData", "Loaded", "StoredTensor", "data_of", "tensor_of"]

_READ_WHOLE = 2**26
_GRAPHS = {
    "onnx": "ONNX",
    "keras": "Keras",
    "export": "torch.export",
    "torchscript": "TorchScript",
    "tflite": "TFLite",
}
_COMPUTABLE = frozenset((
    "float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128", "bool", "int8",
    "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
))  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredTensor:
    """A tensor whose numbers lie in a file one by one.

    Attributes:
        tensor: As it was loaded.
        start: Byte of its first number.
        swap: Whether the bytes of each number are in the other order than this machine's.
    """

    tensor: Tensor
    start: int
    swap: bool


@dataclass(frozen=True, kw_only=True)
class GraphData:
    """What a file holds that says its network's graph.

    Attributes:
        format_name: ``ONNX``, ``Keras``, ``torch.export``, ``TorchScript`` or ``TFLite``.
        description: As the reading process gives it.
        file: The file's bytes.
        blob: Numbers that lie elsewhere than in the file as they are.
    """

    format_name: str
    description: Mapping[str, Any]
    file: bytearray | mmap.mmap
    blob: memoryview


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a file holds.

    Attributes:
        data: See above; ``None`` of an index of shards, and of a file that says its graph.
        graph: Of a file that says its network's graph; else ``None``.
        metadata: Texts beside tensors by name; ``None`` where the file is by ``torch.save``.
        shards: Of the index of a sharded state dict the names of the tensors in each file; else ``None``.
        odd_tensors: What tensors are that are no dense numbers, by the names in their dictionaries.
        stored: Where tensors lie in the file.
    """

    data: Any = None
    graph: GraphData | None = None
    metadata: Mapping[str, str] | None = None
    shards: Mapping[str, Sequence[str]] | None = None
    odd_tensors: Mapping[str, str] = field(default_factory=dict)
    stored: tuple[StoredTensor, ...] = ()


@dataclass(frozen=True, eq=False)
class ForeignObject:
    """Something else that a pickle held, which was not made.

    Attributes:
        name: Its class, such as ``argparse.Namespace``, or what it is.
        content: What its class would be given: its attributes or entries as a dictionary, its items as a list.
    """

    name: str
    content: Any = None

    def __str__(self) -> str:
        return self.name


def data_of(answer: Answer, descriptor: int, file_bytes: int, source: str) -> Loaded:
    """The data of a file that was described.

    Args:
        answer: Its description.
        descriptor: The file, open for reading.
        file_bytes: Its size.
        source: Its name as it is shown, for messages.

    Returns:
        Tensors of large files are mapped: their numbers are read when they are used.

    Raises:
        ZoovetError: The description does not fit the file, or the file cannot be mapped.
    """
    description = answer.description
    if "shards" in description:
        return Loaded(shards=description["shards"])
    try:
        for key, format_name in _GRAPHS.items():
            if key in description:
                file = _bytes_of(descriptor, file_bytes)
                graph = GraphData(format_name=format_name, description=description[key], file=file, blob=answer.blob)
                return Loaded(graph=graph)
        maker = _Data(_bytes_of(descriptor, file_bytes), answer.blob, description["byteorder"] == "big")
        data = maker.make(description["data"])
        metadata, stored = description.get("metadata"), tuple(maker.stored)
        return Loaded(data=data, metadata=metadata, odd_tensors=maker.odd_tensors, stored=stored)
    except (ArithmeticError, LookupError, RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise ZoovetError(f"{source} is damaged or truncated{said_in_parentheses(error)}; get it anew") from error
    except (MemoryError, OSError) as error:
        raise ZoovetError(
            f"{source} needs {file_bytes >> 20} MB of memory, which this machine does not give"
        ) from error


def tensor_of(graph: GraphData, node: Any) -> Tensor:
    """A tensor of a file that says its graph, as the reading process describes it: ``["tensor", …]``, ``["array", …]``.

    Raises:
        ValueError: The description does not fit the file.
    """
    value = _Data(graph.file, graph.blob, swap=False).make(node)
    tensor = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
    if not isinstance(tensor, Tensor):
        raise ValueError("it is no tensor")
    return tensor


def _bytes_of(descriptor: int, file_bytes: int) -> bytearray | mmap.mmap:
    if file_bytes > _READ_WHOLE:
        return mmap.mmap(descriptor, file_bytes, access=mmap.ACCESS_COPY)
    data = bytearray(file_bytes)
    view, position = memoryview(data), 0
    while position < file_bytes:
        num_read = os.preadv(descriptor, [view[position:]], position)
        if num_read == 0:
            raise ValueError("the file became shorter")
        position += num_read
    return data


class _Data:
    """Makes data of a description."""

    def __init__(self, file: bytearray | mmap.mmap, blob: memoryview, swap: bool) -> None:
        self.file, self.blob, self.swap = file, blob, swap
        self.odd_tensors: dict[str, str] = {}
        self.texts: dict[tuple[int, int], bytes] = {}
        self.stored: list[StoredTensor] = []

    def make(self, node: Any, name: object = "") -> Any:
        """What a node of the description stands for, which has a name in its dictionary."""
        if not isinstance(node, list):
            return node
        kind, *parts = node
        match kind:
            case "list":
                return [self.make(part) for part in parts]
            case "dict":
                keys = [ForeignObject(key[1]) if isinstance(key, list) else key for key in parts[::2]]
                return {key: self.make(part, key) for key, part in zip(keys, parts[1::2], strict=True)}
            case "tensor":
                return self._tensor(str(name), *parts)
            case "odd":
                return self._odd(str(name), *parts)
            case "array":
                return self._array(*parts)
            case "bytes":
                return self._bytes(*parts)
            case "complex":
                return complex(*parts)
            case "instance":
                return ForeignObject(parts[0], self.make(parts[1]))
            case "opaque":
                return ForeignObject(parts[0])
        raise ValueError(f"{kind} is no kind of node")

    def _bytes(self, start: int, num_bytes: int) -> bytes:
        """Bytes that a pickle held; those that it holds many times are there once."""
        if (start, num_bytes) not in self.texts:
            self.texts[start, num_bytes] = bytes(self.blob[start : start + num_bytes])
        return self.texts[start, num_bytes]

    def _odd(self, name: str, kind: str, dtype: str, shape: Sequence[int]) -> Tensor:
        of = f" of {dtype}" if dtype else ""
        words = {
            "meta": "a meta tensor, which has no numbers",
            "stored": f"of {dtype}" if dtype else "of a dtype without a name",
            "subclassed": "a tensor of a class of its own",
        }
        self.odd_tensors[name] = words.get(kind, f"a {kind} tensor{of}")
        return torch.empty(tuple(shape), device="meta")

    def _tensor(
        self,
        name: str,
        start: int,
        num_bytes: int,
        dtype: str,
        offset: int,
        shape: list[int],
        stride: list[int],
        negative: bool,
        conjugate: bool,
    ) -> Tensor:
        if dtype not in _COMPUTABLE:
            return self._odd(name, "stored", dtype, shape)
        numbers = self._numbers(start, num_bytes, getattr(torch, dtype)).as_strided(shape, stride, offset)
        numbers = numbers.conj() if conjugate and numbers.is_complex() else numbers
        if negative:
            return -numbers
        self.stored.append(StoredTensor(tensor=numbers, start=start + offset * numbers.itemsize, swap=self.swap))
        return numbers

    def _numbers(self, start: int, num_bytes: int, dtype: torch.dtype) -> Tensor:
        """A storage's numbers [n]."""
        count = num_bytes // dtype.itemsize
        if count == 0:
            return torch.empty(0, dtype=dtype)
        numbers = torch.frombuffer(self.file, dtype=torch.uint8, count=count * dtype.itemsize, offset=start)
        if self.swap:
            size = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
            numbers = numbers.reshape(-1, size).flip(1).reshape(-1)
        if numbers.data_ptr() % dtype.itemsize and isinstance(self.file, bytearray):
            numbers = numbers.clone()  # numbers where they belong; of what is mapped, processors read them anywhere
        return numbers.view(dtype)

    def _array(self, start: int, num_bytes: int, dtype: str, shape: list[int] | None, fortran: bool) -> Any:
        raw = self.blob[start : start + num_bytes]
        array = np.frombuffer(raw, dtype=np.dtype(dtype)) if num_bytes else np.empty(0, np.dtype(dtype))
        if shape is None:
            return array[0].item()
        return array.reshape(shape, order="F" if fortran else "C")

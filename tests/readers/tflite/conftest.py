"""Small TensorFlow Lite files, written by hand as FlatBuffers, and those that TensorFlow wrote."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoovet.readers.parsing.tflite_operators import CUSTOM, OPERATORS, SETTINGS

_DTYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int8": 9}
_ARCHIVE = Path(__file__).parents[2] / "data" / "tflite_files.npz"

Fields = Sequence[Any]
"""Of a table, in order: ``None``, (layout, number), text, bytes, (layout, list of numbers), a list of tables."""


@dataclass
class Step:
    """An operator: its name, the names of its tensors, its settings."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("y",)
    settings: Mapping[str, Any] = field(default_factory=dict)


def flatbuffer(root: Fields) -> bytes:
    """A file of a table; offsets lead forward, each field of a table takes eight bytes."""
    out = bytearray(b"\0\0\0\0TFL3")
    struct.pack_into("<I", out, 0, _table(out, root))
    return bytes(out)


def _table(out: bytearray, fields: Fields) -> int:
    out += bytes(-len(out) % 8)
    places = [0 if one is None else 8 + 8 * index for index, one in enumerate(fields)]
    listed = struct.pack(f"<HH{len(places)}H", 4 + 2 * len(places), 8 + 8 * len(places), *places)
    start = len(out)
    out += listed + bytes(-len(listed) % 8)
    place = len(out)
    out += struct.pack("<i4x", place - start) + bytes(8 * len(places))
    for where, one in zip(places, fields, strict=True):
        if isinstance(one, tuple) and not isinstance(one[1], list):
            struct.pack_into(f"<{one[0]}", out, place + where, one[1])
        elif one is not None:
            child = _table(out, one.fields) if isinstance(one, Table) else _vector(out, one)
            struct.pack_into("<I", out, place + where, child - place - where)
    return place


@dataclass
class Table:
    """A table within another."""

    fields: Fields


def _vector(out: bytearray, value: Any) -> int:
    out += bytes(-len(out) % 8)
    place = len(out)
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        out += struct.pack("<I", len(data)) + data + b"\0"
    elif isinstance(value, tuple):
        out += struct.pack(f"<I{len(value[1])}{value[0]}", len(value[1]), *value[1])
    else:
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for index, one in enumerate(value):
            where = place + 4 + 4 * index
            struct.pack_into("<I", out, where, _table(out, one) - where)
    return place


def model_of(
    steps: Sequence[Step],
    constants: Mapping[str, Any],
    shape: Sequence[int] = (1, 6, 7, 4),
    *,
    is_open: bool = False,
    outputs: Sequence[str] = ("y",),
) -> list[Any]:
    """The tables of a model that reads ``x``; tensors between say no shape, as what they say is not relied on."""
    arrays = {name: np.asarray(one) for name, one in constants.items()}
    names = list(
        dict.fromkeys(["x", *arrays, *(name for step in steps for name in (*step.inputs, *step.outputs) if name)])
    )
    tensors: list[Fields] = []
    buffers: list[Fields] = [[]]
    for name in names:
        own = arrays.get(name)
        sizes = list(shape) if name == "x" else [] if own is None else list(own.shape)
        signature = ("i", [-1, *sizes[1:]]) if name == "x" and is_open else None
        dtype = _DTYPES["float32" if own is None else own.dtype.name]
        tensors.append([("i", sizes), ("b", dtype), ("I", len(buffers)), name, None, None, None, signature])
        buffers.append([None if own is None or not own.size else own.tobytes()])
    number = {name: index for index, name in enumerate(names)} | {"": -1}
    operators = [
        [
            ("I", index),
            *(("i", [number[name] for name in group]) for group in (step.inputs, step.outputs)),
            *_settings(step),
        ]
        for index, step in enumerate(steps)
    ]
    graph = [tensors, ("i", [number["x"]]), ("i", [number[name] for name in outputs]), operators]
    return [("I", 3), [_code(step.op) for step in steps], [graph], "by hand", buffers]


def _code(op: str) -> Fields:
    if op not in OPERATORS:
        return [("b", CUSTOM), op, ("i", 1), ("i", CUSTOM)]
    number = OPERATORS.index(op)
    return [("b", min(number, 127)), None, ("i", 1), ("i", number)]


def _settings(step: Step) -> list[Any]:
    if step.op not in SETTINGS:
        return []
    kind, known = SETTINGS[step.op]
    assert set(step.settings) <= {name for name, _ in known}
    given = [None if name not in step.settings else (layout.strip("*+"), step.settings[name]) for name, layout in known]
    return [("B", kind), Table(given)]


Wrote = Callable[..., bytes]


@pytest.fixture(scope="session")
def written() -> Wrote:
    """Writes a file of steps and constants."""
    return lambda steps, constants, shape=(1, 6, 7, 4), **more: flatbuffer(model_of(steps, constants, shape, **more))


@pytest.fixture(scope="session")
def of_tensorflow() -> dict[str, Any]:
    """Files that TensorFlow 2.21 converted, images [N, height, width, channels], and what its interpreter answers."""
    with np.load(_ARCHIVE) as archive:
        arrays = dict(archive)
    plain = {name: one for name, one in arrays.items() if name.endswith(("_images", "_answers"))}
    return {**plain, **{name: one.tobytes() for name, one in arrays.items() if name not in plain}}

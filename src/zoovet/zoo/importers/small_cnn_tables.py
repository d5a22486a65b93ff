"""The tables of the small CNN zoos: ``layout.csv``, ``metrics.csv.gz``, ``weights.npy``.

Weights are stored as TensorFlow has them: bias before kernel, kernels height × width × in × out, dense in × out.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Graph, LayerSpec, PoolSpec

__all__ = ["Layout", "open_weights", "read_layout", "read_metrics", "whole_numbers"]

_COLUMNS = ("varname", "start_idx", "end_idx", "shape")
_STRIDE = (2, 2)


@dataclass(frozen=True, eq=False)
class Layout:
    """What ``layout.csv`` says.

    Attributes:
        kernels: TensorFlow shape of every layer's kernel, in order.
        order: int64 [P], which of TensorFlow's numbers stands at each place of our flat vector.
    """

    kernels: tuple[tuple[int, ...], ...]
    order: NDArray[np.int64]

    def graph(self, activation: str, grid: tuple[int, int], padding: int) -> Graph:
        """The network: convolutions of stride 2, global average pooling, dense layers.

        Args:
            activation: Of every hidden layer.
            grid: Height and width of the images.
            padding: Zeros on each side of a convolution's input.

        Raises:
            ZoovetError: The layers do not fit one another or the images.
        """
        if self.kernels[0][-2] != 1:
            raise ZoovetError(f"they see gray images of 1 channel, but the first kernel reads {self.kernels[0][-2]}")
        layers = []
        for index, kernel in enumerate(self.kernels):
            is_conv, last = len(kernel) == 4, index == len(self.kernels) - 1
            pooled = is_conv and not last and len(self.kernels[index + 1]) == 2
            layers.append(
                LayerSpec(
                    kind="conv" if is_conv else "linear",
                    in_channels=kernel[-2],
                    out_channels=kernel[-1],
                    kernel=kernel[:-2],
                    stride=_STRIDE if is_conv else (1, 1),
                    padding=(padding, padding) if is_conv else (0, 0),
                    activation="identity" if last else activation,
                    pool=PoolSpec(kind="global") if pooled else None,
                )
            )
        return Graph.of_layers(input_shape=(1, *grid), layers=tuple(layers))


def read_layout(path: Path) -> Layout:
    """Read ``layout.csv``: one row a variable with its place in the flat vector and its shape.

    Raises:
        ZoovetError: A column is missing, a shape is no tuple of integers (it is parsed, never evaluated), or variables
            do not follow one another without gaps, or not as bias and kernel of one layer after another.
    """
    kernels: list[tuple[int, ...]] = []
    biases: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.int64]] = []
    end = 0
    for line, row in _layout_rows(path):
        where = f"{path}, line {line}"
        shape = _shape(row["shape"], where)
        first, last = (_integer(row[name], f"{where}, {name}") for name in ("start_idx", "end_idx"))
        if first != end or last - first != math.prod(shape):
            raise ZoovetError(
                f"{where}: {row['varname']!r} of shape {shape} has the places {first} to {last}; expected are "
                f"{math.prod(shape)} places from {end}, where the variable before it ends"
            )
        places, end = np.arange(first, last).reshape(shape), last
        if row["varname"].endswith("bias:0") and len(shape) == 1:
            biases.append(places)
        elif row["varname"].endswith("kernel:0") and len(shape) in (2, 4):
            kernels.append(shape)
            weights.append(places.transpose(3, 2, 0, 1) if len(shape) == 4 else places.T)
        else:
            raise ZoovetError(
                f"{where}: {row['varname']!r} of shape {shape} is neither a bias (…bias:0, one axis) nor a kernel "
                f"(…kernel:0, four axes or two)"
            )
    if not kernels or [len(bias) for bias in biases] != [kernel[-1] for kernel in kernels]:
        raise ZoovetError(
            f"{path}: biases of {[len(bias) for bias in biases]} numbers do not fit kernels of {kernels}; every layer "
            f"has a kernel and a bias as long as the kernel's last axis"
        )
    order = [part.ravel() for pair in zip(weights, biases, strict=True) for part in pair]
    return Layout(tuple(kernels), np.concatenate(order))


def _layout_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows of a layout with their line numbers."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ZoovetError(
                    f"{path} lacks the column {missing[0]!r}{nearest(missing[0], reader.fieldnames or ())}"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZoovetError(f"{path} cannot be read: {error}") from error
    for line, row in rows:
        if any(row[name] is None for name in _COLUMNS):
            raise ZoovetError(f"{path}, line {line} ends too early: expected are the columns {', '.join(_COLUMNS)}")
    return rows


def _shape(text: str, where: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\(\s*\d+\s*,\s*(\d+\s*,\s*)*(\d+\s*)?\)", text.strip(), flags=re.ASCII):
        raise ZoovetError(f"{where}: the shape {text!r} is no tuple of integers such as (3, 3, 16, 16)")
    shape = tuple(int(part) for part in re.findall(r"\d+", text))
    if min(shape) < 1:
        raise ZoovetError(f"{where}: the shape {text!r} has an axis of length 0")
    return shape


def _integer(text: str, where: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", text, flags=re.ASCII):
        raise ZoovetError(f"{where}: {text!r} is no integer of at least 0")
    return int(text)


def read_metrics(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> pa.Table:
    """Read ``metrics.csv.gz``.

    Args:
        path: The file.
        texts: Columns to read as text.
        numbers: Columns to read as float64; an empty cell is null.

    Returns:
        The columns asked for, and ``path``: the first one, whatever it is called.

    Raises:
        ZoovetError: It is damaged, lacks a column, has no rows, or a number is none.
    """
    types = {**dict.fromkeys(texts, pa.string()), **dict.fromkeys(numbers, pa.float64())}
    try:
        with pc.open_csv(path, convert_options=pc.ConvertOptions(column_types=types)) as reader:
            names = reader.schema.names
        for name in types:
            if name not in names:
                raise ZoovetError(f"{path} lacks the column {name!r}{nearest(name, names)}")
        types[names[0]] = pa.string()
        convert = pc.ConvertOptions(column_types=types, include_columns=list(types), strings_can_be_null=False)
        table = pc.read_csv(path, convert_options=convert)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise ZoovetError(f"{path} cannot be read: {error}") from error
    if len(table) == 0:
        raise ZoovetError(f"{path} has no rows")
    return table.rename_columns(["path" if name == names[0] else name for name in table.column_names])


def whole_numbers(table: pa.Table, name: str, path: Path) -> NDArray[np.int64]:
    """A column of numbers as int64 [N].

    Raises:
        ZoovetError: One is missing or no integer; the message names its row.
    """
    values = np.asarray(table[name].to_numpy(), dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(values) | (values != np.round(values)))
    if len(wrong):
        found = "is missing" if np.isnan(values[wrong[0]]) else f"is {values[wrong[0]]:g}, which is no integer"
        raise ZoovetError(f"{path}: {name} {found} in row {wrong[0]} ({table['path'][int(wrong[0])]})")
    return values.astype(np.int64)


def open_weights(path: Path) -> NDArray[np.float32]:
    """Map ``weights.npy`` into memory, [N, P] float32; nothing of it is read yet.

    Raises:
        ZoovetError: It is no ``.npy`` file of a float32 matrix, is truncated, or holds pickled objects.
    """
    try:
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        what = "holds pickled objects, which may run any code, and was refused" if _pickled(error) else "cannot be read"
        raise ZoovetError(f"{path} {what}: {error}; expected is a NumPy file of a float32 matrix") from error
    if not isinstance(weights, np.memmap) or weights.ndim != 2 or weights.dtype != np.float32:
        found = f"{weights.dtype} of shape {weights.shape}" if isinstance(weights, np.ndarray) else "an archive"
        raise ZoovetError(f"{path} must be a float32 matrix [networks, parameters], got {found}")
    return weights


def _pickled(error: Exception) -> bool:
    return "pickle" in str(error) or "Python objects" in str(error)

"""Other numbers for the tensors of a file, told by the names of the parameters that they were read as, and by numbers.

A reader may have turned a tensor (Keras keeps kernels with channels last, ONNX a linear layer's weight either way), so
that where its numbers went is told by the numbers themselves. Whoever writes such a file reads it once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import torch
from torch import Tensor

from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.loaded import GraphData, StoredTensor
from zoovet.readers.onnx.tensors import dtype_name
from zoovet.readers.rewriting import LayoutError, NewNumbers
from zoovet.readers.tflite.model import read_model
from zoovet.readers.torchscript.program import program_of

__all__ = ["placed_names", "renumbered_graph_file", "renumbered_state_dict"]

_MAX_AXES = 4
_ONNX_DTYPES = {
    "float": torch.float32,
    "double": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def renumbered_state_dict(
    content: FileContent, before: Mapping[str, Tensor], after: Mapping[str, Tensor], source: str
) -> list[NewNumbers]:
    """What the tensors of a state dict become when parameters that were read from it change.

    Args:
        content: What the file holds.
        before: Parameters as they were read, by names that end the file's.
        after: The same parameters, those that changed with other numbers.
        source: The file, for messages.

    Returns:
        New numbers; of a tensor that is there more than once (an average beside the weights with the same numbers) all.

    Raises:
        LayoutError: A parameter's numbers do not stand in the file as they are, as where they are made of several
            tensors, or where they lie in a pickle or in several files.
    """
    stored = {id(one.tensor): one for one in content.stored}
    changed: dict[int, NewNumbers] = {}
    for name in _changed(before, after):
        same = _same(content, name, before[name])
        if not same:
            shown = printable(name, 60)
            raise LayoutError(
                f"{source}: '{shown}' does not stand in it as it is computed with (it is made of several tensors), so "
                "that its layout cannot be kept"
            )
        for key in same:
            place = stored.get(id(content.tensors[key]))
            if place is None:
                where = "in several files" if not content.stored else "within a pickle"
                raise LayoutError(f"{source}: the numbers of '{printable(key, 60)}' lie {where}")
            changed[place.start] = NewNumbers.of(place, after[name], source)
    return list(changed.values())


def renumbered_graph_file(
    data: GraphData, before: Mapping[str, Tensor], after: Mapping[str, Tensor], source: str
) -> list[NewNumbers]:
    """What tensors of an ONNX, Keras, TorchScript or TFLite file become when parameters that were read from it change.

    Args:
        data: What the file holds.
        before: Parameters as they were read.
        after: The same parameters, those that changed with other numbers.
        source: The file, for messages.

    Raises:
        LayoutError: A parameter's numbers do not stand in the file one by one: they are made of several tensors, are
            packed, or may be those of one tensor or another.
    """
    places = _places(data)
    changed: dict[str, NewNumbers] = {}
    for name in _changed(before, after):
        key = _place_of(name, before[name], {key: one for key, one in places.items() if key not in changed})
        new = None if key is None else _turned(places[key].tensor, before[name], after[name])
        if key is None or new is None:
            raise LayoutError(
                f"{source}: the numbers of '{printable(name, 60)}' do not stand in it one by one, or twice, so that "
                f"its layout cannot be kept"
            )
        changed[key] = NewNumbers.of(places[key], new, source)
    return list(changed.values())


def placed_names(content: FileContent, parameters: Mapping[str, Tensor]) -> list[str]:
    """Parameters whose numbers a file can be given anew: they stand in it one by one, and in one tensor only.

    Args:
        content: What the file holds.
        parameters: As they were read, by name.
    """
    if content.graph is not None:
        places = _places(content.graph.data)
        return [name for name, own in parameters.items() if _place_of(name, own, places) is not None]
    stored = {id(one.tensor) for one in content.stored}
    found = {name: _same(content, name, own) for name, own in parameters.items()}
    return [name for name, keys in found.items() if keys and all(id(content.tensors[key]) in stored for key in keys)]


def _changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    return [name for name, own in before.items() if not torch.equal(own, after[name])]


def _same(content: FileContent, name: str, numbers: Tensor) -> list[str]:
    """The tensors of a state dict whose names end as a parameter's does, with its numbers."""
    named = [key for key in content.tensors if key == name or key.endswith(f".{name}")]
    return [key for key in named if _has(content.tensors[key], numbers)]


def _place_of(name: str, numbers: Tensor, places: Mapping[str, StoredTensor]) -> str | None:
    """The tensor that a parameter is: of those with its numbers the one with its name, or the only one."""
    if name in places and _turned(places[name].tensor, numbers, numbers) is not None:
        return name
    keys = [key for key, place in places.items() if _turned(place.tensor, numbers, numbers) is not None]
    return keys[0] if len(keys) == 1 else None


def _has(tensor: Tensor, numbers: Tensor) -> bool:
    if not tensor.is_floating_point() or tensor.numel() != numbers.numel():
        return False
    return torch.equal(tensor.reshape(-1).to(numbers.dtype), numbers.reshape(-1))


def _turned(stored: Tensor, before: Tensor, after: Tensor) -> Tensor | None:
    """New numbers in the order of a stored tensor; ``None`` where it does not hold the old ones."""
    if stored.numel() != before.numel() or not stored.is_floating_point():
        return None
    own = stored.to(before.dtype)
    if torch.equal(own.reshape(-1), before.reshape(-1)):
        return after.reshape(stored.shape)
    if 1 < own.ndim <= _MAX_AXES:
        for order in permutations(range(own.ndim)):
            if torch.equal(own.permute(order).reshape(-1), before.reshape(-1)):
                back = [order.index(axis) for axis in range(own.ndim)]
                return after.reshape([own.shape[axis] for axis in order]).permute(back)
    flattened = _of_flattened_map(own, before, after)
    return _by_numbers(own, before, after) if flattened is None else flattened


def _of_flattened_map(stored: Tensor, before: Tensor, after: Tensor) -> Tensor | None:
    """The same of a matrix that reads a map flattened channels last in the file, and channels first as it was read."""
    if not stored.ndim == before.ndim == 2:
        return None
    num_outputs, num_inputs = before.shape
    for matrix in (stored, stored.T):
        if matrix.shape != before.shape:
            continue
        for places in (count for count in range(2, num_inputs) if num_inputs % count == 0):
            dealt = (places, num_inputs // places)
            if not torch.equal(matrix[0].reshape(dealt).T.reshape(-1), before[0]):
                continue
            if torch.equal(matrix.reshape(num_outputs, *dealt).transpose(1, 2).reshape(before.shape), before):
                new = after.reshape(num_outputs, *dealt[::-1]).transpose(1, 2).reshape(before.shape)
                return new if matrix is stored else new.T
    return None


def _by_numbers(stored: Tensor, before: Tensor, after: Tensor) -> Tensor | None:
    """The same where the old numbers, each there once, say where each of them went."""
    there, read = stored.reshape(-1).sort(), before.reshape(-1).sort()
    if not torch.equal(there.values, read.values) or bool((read.values[1:] == read.values[:-1]).any()):
        return None
    new = torch.empty_like(after.reshape(-1))
    new[there.indices] = after.reshape(-1)[read.indices]
    return new.reshape(stored.shape)


def _places(data: GraphData) -> dict[str, StoredTensor]:
    """The tensors whose numbers lie in the file one by one, by their names in it."""
    if data.format_name == "ONNX":
        return _of_onnx(data)
    if data.format_name == "TorchScript":
        return _of_torchscript(data)
    if data.format_name == "TFLite":
        return _of_tflite(data)
    return _of_keras(data) if data.format_name == "Keras" else {}


def _of_onnx(data: GraphData) -> dict[str, StoredTensor]:
    places = {}
    for one in data.description["tensors"]:
        dtype, raw = _ONNX_DTYPES.get(dtype_name(one["dtype"])), one["raw"]
        if dtype is None or raw is None or one["external"] is not None or raw[2] == 0:
            continue
        _, start, size = raw
        places[str(one["name"])] = _stored(data, start, size, dtype, one["dims"])
    return places


def _of_keras(data: GraphData) -> dict[str, StoredTensor]:
    places = {}
    for path, node in data.description["tensors"].items():
        if node[0] != "tensor" or not str(node[3]).startswith("float"):
            continue
        _, start, size, dtype, _, shape, *_ = node
        places[str(path)] = _stored(data, start, size, getattr(torch, dtype), shape)
    return places


def _of_torchscript(data: GraphData) -> dict[str, StoredTensor]:
    program = program_of(data)
    places = {}
    for name, tensor in program.weights.items():
        _, start, _, _, offset, _, _, negative, conjugate = program.nodes[name]
        if tensor.is_floating_point() and not tensor.is_meta and not negative and not conjugate:
            places[name] = StoredTensor(tensor=tensor, start=start + offset * tensor.itemsize, swap=False)
    return places


def _of_tflite(data: GraphData) -> dict[str, StoredTensor]:
    """Of tensors that share a buffer, the first."""
    places, starts = {}, set[int]()
    for tensor in read_model(data).tensors:
        if tensor.place is None or tensor.dtype not in ("float32", "float16") or tensor.place[0] in starts:
            continue
        starts.add(tensor.place[0])
        places[tensor.name] = StoredTensor(tensor=tensor.numbers(data).clone(), start=tensor.place[0], swap=False)
    return places


def _stored(data: GraphData, start: int, size: int, dtype: torch.dtype, shape: list[int]) -> StoredTensor:
    numbers = torch.frombuffer(bytearray(memoryview(data.file)[start : start + size]), dtype=dtype)
    return StoredTensor(tensor=numbers.reshape(shape), start=start, swap=False)

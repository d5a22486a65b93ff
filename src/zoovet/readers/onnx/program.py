"""Walking through an ONNX file: constants are computed, what depends on the images is written into a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT
from zoovet.networks.input_shape import other_shape, require_input_shape
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.values import NUM_IMAGES, Constant, Unreadable, Variable
from zoovet.readers.exported.writer import GraphWriter
from zoovet.readers.onnx.calls import FileValues, NodeCall
from zoovet.readers.onnx.constants import CONSTANT_NODES, SOURCE_NODES
from zoovet.readers.onnx.elementwise import ELEMENTWISE_NODES
from zoovet.readers.onnx.layers import LAYER_NODES
from zoovet.readers.onnx.layout import LAYOUT_NODES
from zoovet.readers.onnx.model import Model
from zoovet.readers.onnx.patterns import with_gelus
from zoovet.readers.onnx.resizing import RESIZING_NODES
from zoovet.readers.outputs import chosen_output, needed
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.tensors import ways_to_give_a_shape

__all__ = ["MAX_NAME", "answering", "images_read", "read_program", "results_of"]

_READERS = {**ELEMENTWISE_NODES, **LAYER_NODES, **LAYOUT_NODES, **RESIZING_NODES}
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_COLOURS = (1, 3, 4)
MAX_NAME = 200
"""Characters of what an operation of a graph is called."""
_MAX_REASON = 300


def read_program(
    model: Model, input_shape: tuple[int, ...] | None, output: int | None
) -> tuple[Networks, tuple[str, ...]]:
    """The graph and the weights of a file.

    Args:
        model: What it says.
        input_shape: Of an image, channels first, where the file leaves sizes open.
        output: Which of several outputs, from 0.

    Returns:
        One network (B = 1), and notes.

    Raises:
        UnknownOperation: There is an operation beyond the vocabulary; the message names it and its node.
        ZoovetError: The input's shape is open or none of images, or it is not clear what the file answers.
    """
    answer = _output(model, output)
    writer, images, notes = images_read(model.input_shape, input_shape)
    nodes = needed(with_gelus(model.nodes, model.constants), answer)
    num_readers = Counter(name for node in nodes for name in node.inputs) + Counter([answer])
    values = FileValues(writer, model.opset, model.input_shape[0], num_readers)
    values.by_name.update(model.constants)
    values.by_name[model.input] = images
    for node in nodes:
        writer.name = (node.name or node.outputs[0] or node.op)[:MAX_NAME]
        results = results_of(NodeCall(node, values))
        values.by_name.update(zip(filter(None, node.outputs), results, strict=False))
    return answering(values, answer, printable(answer, 80)), notes


def images_read(
    sizes: tuple[int | None, ...], given: tuple[int, ...] | None
) -> tuple[GraphWriter, Variable, tuple[str, ...]]:
    """Where a file's graph is written, its input as the file reads it, and notes.

    Args:
        sizes: Axes of the file's input, that of images first; ``None`` where one is left open.
        given: Shape of an image, channels first, where the file leaves sizes open.

    Raises:
        ZoovetError: The input's shape is open or none of images.
    """
    is_channels_last = _is_channels_last(sizes)
    shape = _image_shape(sizes, is_channels_last, given)
    writer = GraphWriter(shape, torch.float32)
    value = Variable(INPUT, (NUM_IMAGES, *shape), 0)
    if is_channels_last:
        notes = ("the file reads channels last; images are given channels first",)
        return writer, writer.permute(value, (0, 2, 3, 1)), notes
    return writer, writer.reshape(value, (NUM_IMAGES, *shape[1:])) if len(sizes) == 3 else value, ()


def answering(values: FileValues, name: str, shown: str) -> Networks:
    """The network that answers with a value.

    Args:
        values: What is known.
        name: The value's.
        shown: What the output is called, safe to show.

    Raises:
        ZoovetError: It does not depend on the images, or has them along another axis than the first.
    """
    result = values.by_name[name]
    if not isinstance(result, Variable):
        raise ZoovetError(f"its output '{shown}' does not depend on its input")
    if not result.is_plain:
        raise ZoovetError(f"its output '{shown}' does not have the images along its first axis")
    return values.writer.networks(result.site)


def _output(model: Model, output: int | None) -> str:
    made = {name for node in model.nodes for name in node.outputs} | {model.input}
    name = model.outputs[chosen_output(len(model.outputs), output, model.outputs)]
    if name not in made:
        raise ZoovetError(f"nothing makes its output '{printable(name, 80)}'")
    return name


def _is_channels_last(sizes: Sequence[int | None]) -> bool:
    """Whether the last of four axes has a number of colours and the second has not."""
    return len(sizes) == 4 and sizes[1] not in _COLOURS and sizes[3] in _COLOURS


def _image_shape(
    sizes: tuple[int | None, ...], is_channels_last: bool, given: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The shape of an image, channels first, from the file's and the given one."""
    if len(sizes) not in (2, 3, 4):
        raise ZoovetError(
            f"its input has {len(sizes)} axes; images are [N, channels, height, width], [N, height, width] or "
            "[N, features]"
        )
    own: tuple[int | None, ...] = {2: sizes[1:], 3: (1, *sizes[1:]), 4: sizes[1:]}[len(sizes)]
    if is_channels_last:
        own = (sizes[3], sizes[1], sizes[2])
    shown = [size or "?" for size in own]
    if given is None:
        if None in own:
            ways = ways_to_give_a_shape(tuple(size or 32 for size in own))
            raise ZoovetError(f"it leaves the size of its input open, {shown}; give {ways}")
        given = tuple(size or 0 for size in own)
    if len(given) != len(own) or any(size not in (None, one) for size, one in zip(own, given, strict=True)):
        raise other_shape(own, given)
    require_input_shape(given)
    return given


def results_of(call: NodeCall) -> list[Any]:
    """A node's outputs.

    Raises:
        UnknownOperation: It cannot be said in the vocabulary.
    """
    op, place = printable(call.node.op, 60), call.node.place
    try:
        results = _read(call)
        call.require_all_used()
    except Unreadable as error:
        raise UnknownOperation(op, place, printable(error, _MAX_REASON)) from None
    except ZoovetError as error:
        raise UnknownOperation(op, place, printable(f"does not fit: {error}", _MAX_REASON)) from None
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UnknownOperation(op, place, f"does not fit{said_in_parentheses(error)}") from None
    return results


def _read(call: NodeCall) -> list[Any]:
    op, known = call.node.op, call.values.by_name
    inputs = [known.get(name) for name in call.node.inputs if name]
    if op in SOURCE_NODES:
        result = SOURCE_NODES[op](call)
    elif any(isinstance(value, Variable) for value in inputs):
        if op not in _READERS:
            raise Unreadable(_why_unknown(op))
        result = _READERS[op](call)
    else:
        if op not in CONSTANT_NODES:
            raise Unreadable(_why_unknown(op) if op not in _READERS else "is not computed on constants")
        result = CONSTANT_NODES[op](call)
    results = result if isinstance(result, list) else [result]
    is_learned = any(isinstance(value, Constant) and value.is_learned for value in inputs)
    return [
        Constant(one, "", is_learned and one.is_floating_point()) if isinstance(one, Tensor) else one for one in results
    ]


def _why_unknown(op: str) -> str:
    if "::" in op:
        return "is no operation of ONNX but of a domain of its own; it is not read"
    if op in _CONTROL_FLOW:
        return "decides or repeats while the network runs; graphs know no control flow"
    if "quantize" in op.lower() or op.startswith("QLinear") or op.endswith("Integer"):
        return "is quantized; read the network as it was before quantization"
    return "is not in the vocabulary of graphs"

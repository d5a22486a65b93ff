"""Walking through the layers of a Keras model: each is written into a graph that reads images channels first."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT
from zoovet.networks.input_shape import other_shape, require_input_shape
from zoovet.printable import printable
from zoovet.readers.exported.file_errors import MALFORMED
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.writer import GraphWriter
from zoovet.readers.keras.calls import LayerCall, Layout, Map
from zoovet.readers.keras.joins import JOINS
from zoovet.readers.keras.layers import LAYERS
from zoovet.readers.keras.layout import LAYOUT
from zoovet.readers.keras.model import Layer, Link, Model
from zoovet.readers.keras.norms import NORMS
from zoovet.readers.keras.pointwise import POINTWISE
from zoovet.readers.parsing.kinds import said_in_parentheses
from zoovet.readers.tensors import ways_to_give_a_shape

__all__ = ["read_program"]

_READERS = {**LAYERS, **NORMS, **POINTWISE, **LAYOUT, **JOINS}
_LAID_OUT = ("Conv", "Pooling", "Cropping", "Padding", "Sampling")
"""Parts of the names of layers whose ``data_format`` says how all maps lie."""


def read_program(
    model: Model, tensors: dict[str, list[Tensor]], input_shape: tuple[int, ...] | None, *, is_of_keras_2: bool
) -> Networks:
    """The graph and the weights of a file.

    Args:
        model: Its layers.
        tensors: By the name of a layer, as Keras lays them out.
        input_shape: Of an image, channels first, where the file leaves sizes open.
        is_of_keras_2: Whether an earlier Keras wrote it, of which a few layers compute otherwise.

    Returns:
        One network (B = 1).

    Raises:
        UnknownOperation: A layer is beyond the vocabulary.
        ZoovetError: The shape of images is open, or is none.
    """
    layout = Layout(channels_last=_is_channels_last(model.layers), is_of_keras_2=is_of_keras_2)
    shape = _image_shape(model.layers[0], input_shape, layout)
    writer = GraphWriter(shape, torch.float32)
    maps: dict[Link, Map] = {}
    for layer in model.layers:
        writer.name = layer.name[:200] or layer.kind
        inputs = [maps[link] for link in layer.inputs] or [Map(INPUT)]
        maps[layer.link] = _read(LayerCall(layer, writer, inputs, tensors.get(layer.name, []), layout))
    answer = maps[model.output]
    if answer.flattened is not None:
        raise ZoovetError("its output is a flattened map, no answer of a classifier")
    return writer.networks(answer.site)


def _read(call: LayerCall) -> Map:
    kind = printable(call.layer.kind, 60)
    if call.layer.kind not in _READERS:
        raise UnknownOperation(kind, call.layer.place, "is not in the vocabulary of graphs")
    try:
        result = _READERS[call.layer.kind](call)
        call.require_all_used()
    except ZoovetError as error:
        raise UnknownOperation(kind, call.layer.place, printable(str(error), 300)) from None
    except MALFORMED as error:
        raise UnknownOperation(kind, call.layer.place, f"does not fit{said_in_parentheses(error)}") from None
    return result


def _is_channels_last(layers: list[Layer]) -> bool:
    """How all maps lie.

    Raises:
        ZoovetError: Some lie so, some otherwise.
    """
    said: dict[str, Layer] = {}
    for layer in layers:
        if any(part in layer.kind for part in _LAID_OUT):
            said.setdefault(str(layer.config.get("data_format") or "channels_last"), layer)
    if len(said) > 1:
        first, second, *_ = said.values()
        raise ZoovetError(f"of its layers, {first.place} and {second.place} have their channels along different axes")
    return "channels_first" not in said


def _image_shape(first: Layer, given: tuple[int, ...] | None, layout: Layout) -> tuple[int, ...]:
    sizes = first.config.get("batch_shape") or first.config.get("batch_input_shape")
    if sizes is None:
        if given is None:
            raise ZoovetError(f"it does not say the size of its input; give {ways_to_give_a_shape((3, 32, 32))}")
        own: tuple[int | None, ...] = given
    else:
        if len(sizes) not in (2, 4):
            raise ZoovetError(f"its input has {len(sizes)} axes; images have three and their number, features one")
        is_turned = len(sizes) == 4 and layout.channels_last
        own = (sizes[-1], *sizes[1:-1]) if is_turned else tuple(sizes[1:])
    if given is None:
        if None in own:
            example = tuple(size or 32 for size in own)
            raise ZoovetError(f"it leaves the size of its input open; give {ways_to_give_a_shape(example)}")
        given = tuple(size or 0 for size in own)
    if len(given) != len(own) or any(size not in (None, one) for size, one in zip(own, given, strict=True)):
        raise other_shape(own, given)
    require_input_shape(tuple(given))
    return tuple(given)

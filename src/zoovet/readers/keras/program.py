"""Walking through the layers of a Keras file: each is written into a graph that reads images channels first."""

from __future__ import annotations

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.graph import INPUT
from zoovet.networks.graph_batch import GraphNetworks
from zoovet.networks.spec import require_input_shape
from zoovet.printable import printable
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.exported.values import Unreadable
from zoovet.readers.exported.writer import GraphWriter
from zoovet.readers.keras.layers import LAYERS, LayerCall, Map
from zoovet.readers.keras.model import Layer

__all__ = ["read_program"]


def read_program(
    layers: list[Layer], tensors: dict[str, list[Tensor]], input_shape: tuple[int, ...] | None
) -> GraphNetworks:
    """The graph and the weights of a file.

    Args:
        layers: Each behind those that it reads.
        tensors: By the name of a layer, as Keras lays them out.
        input_shape: Of an image, channels first, where the file leaves sizes open.

    Returns:
        One network (B = 1).

    Raises:
        UnknownOperation: A layer is beyond the vocabulary.
        ZoovetError: The shape of images is open, or is none.
    """
    shape = _image_shape(layers, input_shape)
    writer = GraphWriter(shape, torch.float32)
    sites: dict[str, Map] = {}
    output: Map | None = None
    for layer in layers:
        writer.name = layer.name[:200] or layer.kind
        inputs = [sites[name] for name in layer.inputs] or [Map(INPUT)]
        call = LayerCall(layer, writer, inputs, tensors.get(layer.name, []))
        sites[layer.name] = _read(call)
        if layer.is_output:
            output = sites[layer.name]
    if output is None:
        raise ZoovetError("nothing makes its output")
    if output.flattened is not None:
        raise ZoovetError("its output is a flattened map, no answer of a classifier")
    return writer.networks(output.site)


def _read(call: LayerCall) -> Map:
    kind = printable(call.layer.kind, 60)
    if call.layer.kind not in LAYERS:
        raise UnknownOperation(kind, call.layer.place, "is not in the vocabulary of graphs")
    try:
        if call.config.get("data_format") == "channels_first":
            raise Unreadable("reads channels first; channels-last files are read")
        result = LAYERS[call.layer.kind](call)
        call.require_all_used()
    except ZoovetError as error:
        raise UnknownOperation(kind, call.layer.place, printable(str(error), 300)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        why = printable(next(iter(str(error).splitlines()), type(error).__name__), 120)
        raise UnknownOperation(kind, call.layer.place, f"does not fit: {why}") from None
    return result


def _image_shape(layers: list[Layer], given: tuple[int, ...] | None) -> tuple[int, ...]:
    first = layers[0].config if layers else {}
    sizes = first.get("batch_shape") or first.get("batch_input_shape")
    if sizes is None:
        if given is None:
            raise ZoovetError("it does not say the size of its input; say it: --input-shape (input_shape=) 3,32,32")
        sizes = (None, *given[1:], given[0])
    own = tuple(sizes[1:]) if len(sizes) == 2 else (sizes[-1], *sizes[1:-1])
    if given is None:
        if None in own:
            example = ",".join(str(size or 32) for size in own)
            raise ZoovetError(f"it leaves the size of its input open; say it: --input-shape (input_shape=) {example}")
        given = own
    if len(given) != len(own) or any(size not in (None, one) for size, one in zip(own, given, strict=True)):
        raise ZoovetError(f"it reads images of {[size or '?' for size in own]}, not {list(given)}")
    require_input_shape(tuple(given))
    return tuple(given)

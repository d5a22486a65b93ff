"""What a network is without its weights: layers, activations, pooling.

A spec is *channel groups* and *blocks*. A group is a set of channels (neurons) that permute and scale
together: the input, each hidden layer, the output. A block is a layer's weights from one group to another.
Plain networks, the only ones that can be constructed so far, have one block between consecutive groups.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from zoovet.errors import ZoovetError
from zoovet.networks.json_values import check_keys, number, plain, whole_numbers
from zoovet.networks.layer_spec import ACTIVATIONS, LayerSpec, PoolSpec, layer_from_json
from zoovet.networks.scaling import InputScaling

__all__ = ["ACTIVATIONS", "Block", "Group", "LayerSpec", "NetworkSpec", "PoolSpec", "mlp", "siren", "small_cnn"]


@dataclass(frozen=True)
class Group:
    """A set of channels that permute and scale together.

    Attributes:
        size: Number of channels.
        role: ``input``, ``hidden`` or ``output``.
        depth: Position from the input, 0 for the input itself.
        activations: (activation, pooling kind or ``None``) of every layer that writes into the group.
    """

    size: int
    role: Literal["input", "hidden", "output"]
    depth: int
    activations: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Block:
    """Layer ``layer``'s weights, from group ``source`` to group ``target`` (indices into ``groups``)."""

    source: int
    target: int
    layer: int


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network without its weights: immutable, hashable, JSON both ways.

    Specs are equal where the architectures are, whatever is known of their input scaling: compare that apart.

    Attributes:
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
        layers: The layers in order. The last one's output, after its activation and pooling, is the network's.
        input_scaling: What the network reads for pixels; ``None`` where that is not known, or it reads no pixels.
        input_map: Factor and offset of each channel, which turn the images that the engine is given into those that the
            first layer reads; ``()`` where they are the same. See :func:`~zoovet.networks.rescaled.rescaled`.

    Raises:
        ZoovetError: Layers do not fit one another or the input; the message names the layer and both sizes. Or the
            input scaling or map is for another number of channels.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSpec, ...]
    input_scaling: InputScaling | None = field(default=None, compare=False)
    input_map: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        require_input_shape(self.input_shape)
        if not self.layers:
            raise ZoovetError("a network needs at least one layer, got none")
        _ = self.map_sizes
        if self.input_scaling is not None and len(self.input_shape) == 3:
            self.input_scaling.require_channels(self.input_shape[0])
        if len(self.input_map) not in (0, self.input_shape[0]):
            raise ZoovetError(
                f"input_map must hold a pair for each of {self.input_shape[0]} channels, or none, got "
                f"{len(self.input_map)}"
            )

    @cached_property
    def architecture(self) -> NetworkSpec:
        """The same without input scaling and map."""
        return replace(self, input_scaling=None, input_map=())

    @cached_property
    def map_sizes(self) -> tuple[tuple[int, int] | None, ...]:
        """(height, width) of the input and after every layer, its pooling included; ``None`` where there is no map."""
        first = (self.input_shape[1], self.input_shape[2]) if len(self.input_shape) == 3 else None
        return (first, *(after for _, after in self._sizes(first)))

    @cached_property
    def unpooled_sizes(self) -> tuple[tuple[int, int] | None, ...]:
        """(height, width) that every layer makes before its pooling; ``None`` where it makes no map."""
        return tuple(before for before, _ in self._sizes(self.map_sizes[0]))

    def _sizes(self, size: tuple[int, int] | None) -> list[tuple[tuple[int, int] | None, tuple[int, int] | None]]:
        """Sizes before and after each layer's pooling, checking that the layers fit one another."""
        channels = self.input_shape[0]
        sizes = []
        for index, layer in enumerate(self.layers):
            if layer.in_channels != channels:
                raise ZoovetError(
                    f"layer {index} ({layer.kind}) reads {layer.in_channels} channels, but {channels} come in"
                )
            before = _size_after_weights(index, layer, size)
            size = _size_after_pooling(index, layer, before)
            channels = layer.out_channels
            sizes.append((before, size))
        return sizes

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The channel groups: input, each hidden layer, output."""
        last = len(self.layers) - 1
        groups = [Group(self.input_shape[0], "input", 0, ())]
        for index, layer in enumerate(self.layers):
            pool = layer.pool.kind if layer.pool else None
            role: Literal["hidden", "output"] = "output" if index == last else "hidden"
            groups.append(Group(layer.out_channels, role, index + 1, ((layer.activation, pool),)))
        return tuple(groups)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """One block a layer, in the order of ``layers``."""
        return tuple(Block(index, index + 1, index) for index in range(len(self.layers)))

    @cached_property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of every layer's weight: (out, in, \\*kernel)."""
        return tuple(layer.weight_shape for layer in self.layers)

    @cached_property
    def bias_shapes(self) -> tuple[tuple[int], ...]:
        """Shape of every layer's bias: (out,)."""
        return tuple((layer.out_channels,) for layer in self.layers)

    @cached_property
    def num_parameters(self) -> int:
        """Numbers in one network: length of its flat vector."""
        return sum(math.prod(shape) for shape in (*self.weight_shapes, *self.bias_shapes))

    @property
    def num_outputs(self) -> int:
        """Channels of the last layer: classes, or values of an INR."""
        return self.layers[-1].out_channels

    @property
    def activation(self) -> str:
        """The activation of the hidden layers where they share one (``identity`` where there is no hidden layer).

        Raises:
            ZoovetError: The hidden layers have different activations.
        """
        names = {layer.activation for layer in self.layers[:-1]} or {"identity"}
        if len(names) > 1:
            raise ZoovetError(f"the hidden layers have several activations: {', '.join(sorted(names))}")
        return names.pop()

    @cached_property
    def spec_id(self) -> str:
        """A short name that differs where specs differ: 12 hexadecimal digits of a SHA-256.

        It is that of the JSON without the input scaling.
        """
        own = replace(self, input_scaling=None).to_json()
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]

    def describe(self) -> str:
        """One line for people: ``1×28×28 → conv 16 3×3 /2 relu → … → linear 10``."""
        parts = ["×".join(map(str, self.input_shape))]
        for layer in self.layers:
            part = f"{layer.kind} {layer.out_channels}"
            if layer.kind == "conv":
                part += f" {layer.kernel[0]}×{layer.kernel[1]}"
            if layer.stride != (1, 1):
                part += f" /{layer.stride[0]}"
            if layer.activation != "identity":
                part += f" {layer.activation}"
            if layer.pool:
                part += f" {layer.pool.kind}-pool"
            parts.append(part)
        return " → ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain JSON values that :meth:`from_json` reads."""
        layers = [plain(asdict(layer)) for layer in self.layers]
        data: dict[str, Any] = {"input_shape": list(self.input_shape), "layers": layers}
        if self.input_scaling is not None:
            data["input_scaling"] = self.input_scaling.to_json()
        if self.input_map:
            data["input_map"] = plain(self.input_map)
        return data

    @classmethod
    def from_json(cls, data: Any) -> NetworkSpec:
        """Read what :meth:`to_json` wrote.

        Raises:
            ZoovetError: A key is missing or unknown, a value has the wrong type, or the layers do not fit.
        """
        names = ("input_shape", "layers")
        check_keys(data, (*names, "input_scaling", "input_map"), names, "a network spec")
        if not isinstance(data["layers"], list):
            raise ZoovetError(f"a network spec's 'layers' must be a list, got {type(data['layers']).__name__}")
        layers = tuple(layer_from_json(layer, f"layers[{index}]") for index, layer in enumerate(data["layers"]))
        input_map = data.get("input_map", [])
        if not isinstance(input_map, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in input_map):
            raise ZoovetError("a network spec's 'input_map' must be a list of pairs, a factor and an offset each")
        return cls(
            input_shape=whole_numbers(data["input_shape"], "input_shape", (1, 3)),
            layers=layers,
            input_scaling=InputScaling.from_json(data["input_scaling"]) if "input_scaling" in data else None,
            input_map=tuple((number(pair[0], "input_map"), number(pair[1], "input_map")) for pair in input_map),
        )


def require_input_shape(shape: tuple[int, ...]) -> None:
    """Raise where this is no shape of an image or of features."""
    if len(shape) not in (1, 3) or any(size < 1 for size in shape):
        raise ZoovetError(f"input_shape must be (channels, height, width) or (features,), got {shape}")


def _size_after_weights(index: int, layer: LayerSpec, size: tuple[int, int] | None) -> tuple[int, int] | None:
    if layer.kind == "conv":
        if size is None:
            raise ZoovetError(f"layer {index} is a conv layer, but what comes in has no height and width")
        return _slide(size, layer, layer.dilation, f"layer {index} (conv)")
    if (size or ()) != layer.kernel:
        raise ZoovetError(
            f"layer {index} (linear) is declared to read {layer.kernel or 'no map'}, but what comes in is "
            f"{size or 'no map'}; set kernel to the map's (height, width), or pool the map away"
        )
    return None


def _size_after_pooling(index: int, layer: LayerSpec, size: tuple[int, int] | None) -> tuple[int, int] | None:
    if layer.pool is None or size is None:
        return size
    if layer.pool.kind == "global":
        return None
    return _slide(size, layer.pool, (1, 1), f"layer {index}'s pooling")


def _slide(
    size: tuple[int, int], window: LayerSpec | PoolSpec, dilation: tuple[int, int], where: str
) -> tuple[int, int]:
    spans = [dilation[axis] * (window.kernel[axis] - 1) + 1 for axis in (0, 1)]
    height, width = (
        (size[axis] + 2 * window.padding[axis] - spans[axis]) // window.stride[axis] + 1 for axis in (0, 1)
    )
    if height < 1 or width < 1:
        raise ZoovetError(f"{where}: its {spans[0]}×{spans[1]} window does not fit a map of {size[0]}×{size[1]}")
    return height, width


def small_cnn(
    activation: str = "relu",
    *,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    channels: tuple[int, ...] = (16, 16, 16),
    num_classes: int = 10,
) -> NetworkSpec:
    """The published zoos' small CNN: 3×3 convolutions of stride 2 and padding 1, global average pooling, linear.

    With the default channels, one input channel and ten classes it has 4,970 parameters.
    Source: Unterthiner et al. 2020, *Predicting Neural Network Accuracy from Weights*, section 3.
    """
    sizes = (input_shape[0], *channels)
    layers = [
        LayerSpec(
            kind="conv",
            in_channels=sizes[index],
            out_channels=sizes[index + 1],
            kernel=(3, 3),
            stride=(2, 2),
            padding=(1, 1),
            activation=activation,
            pool=PoolSpec(kind="global") if index == len(channels) - 1 else None,
        )
        for index in range(len(channels))
    ]
    layers.append(LayerSpec(kind="linear", in_channels=sizes[-1], out_channels=num_classes))
    return NetworkSpec(input_shape=input_shape, layers=tuple(layers))


def mlp(sizes: tuple[int, ...], activation: str = "relu", *, activation_parameter: float | None = None) -> NetworkSpec:
    """A multilayer perceptron from ``sizes[0]`` features to ``sizes[-1]`` outputs; the last layer has no activation."""
    last = len(sizes) - 2
    layers = tuple(
        LayerSpec(kind="linear", in_channels=sizes[index], out_channels=sizes[index + 1])
        if index == last
        else LayerSpec(
            kind="linear",
            in_channels=sizes[index],
            out_channels=sizes[index + 1],
            activation=activation,
            activation_parameter=activation_parameter,
        )
        for index in range(len(sizes) - 1)
    )
    return NetworkSpec(input_shape=(sizes[0],), layers=layers)


def siren(sizes: tuple[int, ...] = (2, 32, 32, 1), w0: float = 30.0) -> NetworkSpec:
    """A SIREN: an MLP with hidden activation sin(w0 · x) that maps a coordinate to a value (Sitzmann et al. 2020)."""
    return mlp(sizes, "sine", activation_parameter=w0)

"""One layer of a network without its weights, and the pooling behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import shown_value
from zoovet.networks.json_values import check_keys, number, whole_number, whole_numbers

__all__ = ["ACTIVATIONS", "LayerSpec", "PoolSpec", "layer_from_json", "layers_from_json"]

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sine", "sigmoid", "gelu", "silu")
"""Names of the element-wise activations. ``leaky_relu`` and ``sine`` take a parameter (slope, w0)."""

_DEFAULT_PARAMETER = {"leaky_relu": 0.01, "sine": 30.0}


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """Pooling after a layer's activation.

    Attributes:
        kind: ``average`` or ``max`` over windows, or ``global`` (the mean over the whole map, which leaves
            one number a channel).
        kernel: Window (height, width); ``(0, 0)`` for ``global``.
        stride: Step (height, width); ``(0, 0)`` for ``global``.
        padding: Zeros (``average``, counted in the mean) or minus infinity (``max``) on each side.
    """

    kind: Literal["average", "max", "global"]
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.kind not in ("average", "max", "global"):
            raise ZoovetError(
                f"pooling kind {shown_value(self.kind)} is unknown"
                f"{nearest(str(self.kind), ['average', 'max', 'global'])}"
            )
        if self.kind != "global" and (min(self.kernel) < 1 or min(self.stride) < 1 or min(self.padding) < 0):
            raise ZoovetError(
                f"{self.kind} pooling needs kernel and stride of at least 1 and padding of at least 0, got "
                f"kernel {self.kernel}, stride {self.stride}, padding {self.padding}"
            )
        if any(2 * padding > kernel for padding, kernel in zip(self.padding, self.kernel, strict=True)):
            raise ZoovetError(
                f"a pooling's padding must be at most half its kernel, got {self.padding} for {self.kernel}"
            )


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One layer with weights, and what follows it: activation, then pooling.

    Attributes:
        kind: ``linear`` or ``conv`` (two-dimensional).
        in_channels: Channels (neurons) it reads.
        out_channels: Channels (neurons) it makes.
        kernel: ``conv``: kernel (height, width). ``linear``: ``()``, or the (height, width) of the map it reads
            flattened, channel by channel: then its edge from a channel to a unit carries height × width numbers.
        stride, padding, dilation: As in ``torch.nn.Conv2d``; ``conv`` only.
        activation: One of :data:`ACTIVATIONS`.
        activation_parameter: Negative slope of ``leaky_relu`` (default 0.01); w0 of ``sine``, sin(w0 · x)
            (default 30). ``None`` for the others.
        pool: Pooling after the activation, or ``None``.
    """

    kind: Literal["linear", "conv"]
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    activation: str = "identity"
    activation_parameter: float | None = None
    pool: PoolSpec | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "conv"):
            hint = nearest(str(self.kind), ["linear", "conv"])
            raise ZoovetError(f"layer kind {shown_value(self.kind)} is unknown{hint}")
        if self.in_channels < 1 or self.out_channels < 1:
            raise ZoovetError(
                f"a layer needs at least one channel in and out, got {self.in_channels} and {self.out_channels}"
            )
        if self.activation not in ACTIVATIONS:
            hint = nearest(str(self.activation), ACTIVATIONS)
            raise ZoovetError(f"activation {shown_value(self.activation)} is unknown{hint}")
        takes_parameter = self.activation in _DEFAULT_PARAMETER
        if not takes_parameter and self.activation_parameter is not None:
            raise ZoovetError(f"activation {self.activation!r} takes no parameter, got {self.activation_parameter}")
        if takes_parameter and self.activation_parameter is None:
            object.__setattr__(self, "activation_parameter", _DEFAULT_PARAMETER[self.activation])
        if self.kind == "conv" and len(self.kernel) != 2:
            raise ZoovetError(f"a conv layer needs a kernel (height, width), got {self.kernel}")
        if len(self.kernel) not in (0, 2) or any(size < 1 for size in self.kernel):
            raise ZoovetError(f"kernel must be () or (height, width) of at least 1, got {self.kernel}")
        if min(self.stride) < 1 or min(self.dilation) < 1 or min(self.padding) < 0:
            raise ZoovetError(
                f"stride and dilation must be at least 1 and padding at least 0, got stride {self.stride}, "
                f"dilation {self.dilation}, padding {self.padding}"
            )
        if self.kind == "linear" and (self.stride, self.padding, self.dilation) != ((1, 1), (0, 0), (1, 1)):
            raise ZoovetError("stride, padding and dilation are for conv layers; leave them out of a linear layer")
        if self.kind == "linear" and self.pool is not None:
            raise ZoovetError("pooling after a linear layer is not possible: it makes no map")

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of one network's weight: (out, in, \\*kernel)."""
        return (self.out_channels, self.in_channels, *self.kernel)

    @property
    def kernel_size(self) -> int:
        """Numbers an edge carries: height × width, or 1."""
        return math.prod(self.kernel)


def layers_from_json(data: Any) -> tuple[LayerSpec, ...]:
    """The layers of a chain's JSON object.

    Raises:
        ZoovetError: A key is missing or unknown, or a value has the wrong type.
    """
    names = ("input_shape", "layers")
    check_keys(data, (*names, "input_scaling", "input_map"), names, "a chain")
    if not isinstance(data["layers"], list):
        raise ZoovetError(f"a chain's 'layers' must be a list, got {shown_value(data['layers'])}")
    return tuple(layer_from_json(layer, f"layers[{index}]") for index, layer in enumerate(data["layers"]))


def layer_from_json(data: Any, where: str) -> LayerSpec:
    """A layer from what ``dataclasses.asdict`` made of it.

    Raises:
        ZoovetError: A key is missing or unknown, or a value has the wrong type; the message names ``where``.
    """
    known = {field.name for field in fields(LayerSpec)}
    values = dict(check_keys(data, known, ("kind", "in_channels", "out_channels"), where))
    for name in ("in_channels", "out_channels"):
        values[name] = whole_number(values[name], f"{where}.{name}")
    for name in {"kernel", "stride", "padding", "dilation"} & set(values):
        values[name] = whole_numbers(values[name], f"{where}.{name}", (0, 2) if name == "kernel" else (2,))
    if values.get("activation_parameter") is not None:
        values["activation_parameter"] = number(values["activation_parameter"], f"{where}.activation_parameter")
    if values.get("pool") is not None:
        values["pool"] = _pool_from_json(values["pool"], f"{where}.pool")
    return LayerSpec(**values)


def _pool_from_json(data: Any, where: str) -> PoolSpec:
    values = dict(check_keys(data, {field.name for field in fields(PoolSpec)}, ("kind",), where))
    for name in {"kernel", "stride", "padding"} & set(values):
        values[name] = whole_numbers(values[name], f"{where}.{name}", (2,))
    return PoolSpec(**values)

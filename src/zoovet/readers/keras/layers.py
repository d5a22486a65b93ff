"""What each Keras layer is in a graph: channels-last kernels and axes turned around."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoovet.readers.exported.values import Constant, Unreadable
from zoovet.readers.exported.writer import GraphWriter
from zoovet.readers.keras.model import Layer

__all__ = ["LAYERS", "LayerCall", "Map"]


@dataclass(frozen=True)
class Map:
    """A site; ``flattened`` is (channels, height, width) where it is a map flattened in channel order."""

    site: str
    flattened: tuple[int, int, int] | None = None


class LayerCall:
    """A layer that is being written.

    Args:
        layer: It.
        writer: Of the graph.
        inputs: What it reads.
        tensors: Its variables, as Keras lays them out.
    """

    def __init__(self, layer: Layer, writer: GraphWriter, inputs: list[Map], tensors: list[Tensor]) -> None:
        self.layer, self.writer, self.inputs = layer, writer, inputs
        self.config: Mapping[str, Any] = layer.config
        self._tensors = list(tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input, channels first."""
        return self.writer.site(self.inputs[0].site).shape

    def take(self, name: str) -> Tensor:
        """The next of its tensors."""
        if not self._tensors:
            raise Unreadable(f"has no {name} in the file")
        return self._tensors.pop(0)

    def learned(self, name: str, tensor: Tensor) -> Constant:
        """A parameter of the graph."""
        return Constant(tensor.contiguous(), f"{self.layer.name[:200]}.{name}", True)

    def bias(self) -> Constant | None:
        """Its bias, where it has one."""
        return self.learned("bias", self.take("bias")) if self.config.get("use_bias", True) else None

    def add(self, op: str, *sites: str, **settings: Any) -> str:
        """Write an operation on the first input, or on the given sites."""
        return self.writer.add(op, *(sites or (self.inputs[0].site,)), **settings)

    def require_all_used(self) -> None:
        """Refuse tensors that were not read."""
        if self._tensors:
            raise Unreadable(f"has {len(self._tensors)} tensors more than were read")

    def activated(self, site: str) -> Map:
        """What its ``activation`` makes of a site."""
        name = self.config.get("activation") or "linear"
        if name == "linear":
            return Map(site)
        if name == "softmax":
            return Map(self.add("softmax", site, dim=0))
        if name not in _ACTIVATIONS:
            raise Unreadable(f"has the activation {str(name)[:60]!r}, which is not in the vocabulary of graphs")
        op, settings = _ACTIVATIONS[name]
        return Map(self.add(op, site, **settings))


_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("relu", {}),
    "relu6": ("relu6", {}),
    "elu": ("elu", {}),
    "selu": ("selu", {}),
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
    "softplus": ("softplus", {}),
    "silu": ("silu", {}),
    "swish": ("silu", {}),
}


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _padding(call: LayerCall, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Any:
    """(top, left, bottom, right): TensorFlow's ``same`` puts the odd row or column behind."""
    if call.config.get("padding", "valid") == "valid":
        return (0, 0, 0, 0)
    if call.config["padding"] != "same":
        raise Unreadable("has a padding that is neither valid nor same")
    totals = [
        max((-(-size // step) - 1) * step + reach * (length - 1) + 1 - size, 0)
        for size, length, step, reach in zip(call.shape[1:], kernel, stride, dilation, strict=True)
    ]
    return (totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2)


def _conv(call: LayerCall) -> Map:
    kernel = call.take("kernel")
    is_depthwise = call.layer.kind == "DepthwiseConv2D"
    height, width, inputs, _ = kernel.shape
    stride, dilation = _pair(call.config["strides"]), _pair(call.config.get("dilation_rate", 1))
    weight = kernel.permute(2, 3, 0, 1).reshape(-1, 1, height, width) if is_depthwise else kernel.permute(3, 2, 0, 1)
    site = call.add(
        "conv2d",
        parameters={"weight": call.learned("weight", weight), "bias": call.bias()},
        stride=stride,
        dilation=dilation,
        padding=_padding(call, (height, width), stride, dilation),
        groups=inputs if is_depthwise else call.config.get("groups", 1),
    )
    return call.activated(site)


def _dense(call: LayerCall) -> Map:
    kernel, flattened = call.take("kernel"), call.inputs[0].flattened
    if len(call.shape) != 1:
        raise Unreadable("reads what is not flat")
    if flattened is not None:
        channels, height, width = flattened
        kernel = kernel.reshape(height, width, channels, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
    return call.activated(
        call.add("linear", parameters={"weight": call.learned("weight", kernel.T), "bias": call.bias()})
    )


def _batch_norm(call: LayerCall) -> Map:
    axis = call.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) else axis
    if axis not in (-1, len(call.shape)) or call.inputs[0].flattened is not None:
        raise Unreadable("works along another axis than that of channels")
    size = call.shape[0]
    gamma = call.take("gamma") if call.config.get("scale", True) else Tensor([1.0]).repeat(size)
    beta = call.take("beta") if call.config.get("center", True) else Tensor([0.0]).repeat(size)
    mean, variance = call.take("moving_mean"), call.take("moving_variance")
    return Map(
        call.add(
            "batch_norm",
            eps=call.config.get("epsilon", 1e-3),
            parameters={
                "weight": call.learned("weight", gamma),
                "bias": call.learned("bias", beta),
                "running_mean": Constant(mean, f"{call.layer.name[:200]}.running_mean"),
                "running_var": Constant(variance, f"{call.layer.name[:200]}.running_var"),
            },
        )
    )


def _pool(call: LayerCall) -> Map:
    kernel = _pair(call.config["pool_size"])
    stride = _pair(call.config.get("strides") or kernel)
    settings: dict[str, Any] = {"count_include_pad": False} if call.layer.kind.startswith("Average") else {}
    op, padding = "avg_pool2d" if settings else "max_pool2d", _padding(call, kernel, stride, (1, 1))
    return Map(call.add(op, kernel_size=kernel, stride=stride, padding=padding, **settings))


def _global_pool(call: LayerCall) -> Map:
    op = "mean" if "Average" in call.layer.kind else "amax"
    return Map(call.add(op, dim=(1, 2), keepdim=bool(call.config.get("keepdims", False))))


def _flatten(call: LayerCall) -> Map:
    if len(call.shape) == 1:
        return call.inputs[0]
    channels, height, width = call.shape
    return Map(call.add("flatten"), (channels, height, width))


def _same(call: LayerCall) -> Map:
    return call.inputs[0]


def _activation(call: LayerCall) -> Map:
    if call.inputs[0].flattened is not None and call.config.get("activation") == "softmax":
        raise Unreadable("is a softmax over a flattened map")
    return Map(call.activated(call.inputs[0].site).site, call.inputs[0].flattened)


def _relu(call: LayerCall) -> Map:
    most, slope, threshold = (call.config.get(name) or 0.0 for name in ("max_value", "negative_slope", "threshold"))
    if threshold or (slope and call.config.get("max_value") is not None) or most not in (0.0, 6.0):
        raise Unreadable("has a threshold, or a largest number other than 6")
    if call.config.get("max_value") == 0:
        raise Unreadable("has the largest number 0")
    site = call.add("leaky_relu", negative_slope=slope) if slope else call.add("relu6" if most else "relu")
    return Map(site, call.inputs[0].flattened)


def _leaky_relu(call: LayerCall) -> Map:
    slope = call.config.get("negative_slope", call.config.get("alpha", 0.3))
    return Map(call.add("leaky_relu", negative_slope=float(slope)), call.inputs[0].flattened)


def _elu(call: LayerCall) -> Map:
    return Map(call.add("elu", alpha=float(call.config.get("alpha", 1.0))), call.inputs[0].flattened)


def _softmax(call: LayerCall) -> Map:
    if call.config.get("axis", -1) not in (-1, len(call.shape)) or call.inputs[0].flattened is not None:
        raise Unreadable("works along another axis than that of channels")
    return Map(call.add("softmax", dim=0))


def _rescaling(call: LayerCall) -> Map:
    scale, offset = call.config["scale"], call.config.get("offset", 0.0)
    if not isinstance(scale, int | float) or not isinstance(offset, int | float):
        raise Unreadable("has other numbers for each channel")
    site = call.add("mul_scalar", scalar=float(scale))
    return Map(call.add("add_scalar", site, scalar=float(offset)), call.inputs[0].flattened)


def _zero_padding(call: LayerCall) -> Map:
    (top, bottom), (left, right) = (_pair(one) for one in call.config["padding"])
    return Map(call.add("pad", pad=(0, 0, top, bottom, left, right)))


def _merge(op: str) -> Callable[[LayerCall], Map]:
    def read(call: LayerCall) -> Map:
        first, *others = call.inputs
        if any(one.flattened != first.flattened for one in others) or not others:
            raise Unreadable("joins values of several layouts, or one alone")
        site = first.site
        for one in others:
            if call.writer.site(one.site).shape != call.shape:
                raise Unreadable("joins values of several shapes")
            site = call.add(op, site, one.site)
        return Map(site, first.flattened)

    return read


def _concatenate(call: LayerCall) -> Map:
    if call.config.get("axis", -1) not in (-1, len(call.shape)) or any(one.flattened for one in call.inputs):
        raise Unreadable("works along another axis than that of channels, or joins flattened maps")
    return Map(call.add("cat", *(one.site for one in call.inputs), dim=0))


LAYERS: dict[str, Callable[[LayerCall], Map]] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2D"), _conv),
    **dict.fromkeys(("MaxPooling2D", "AveragePooling2D"), _pool),
    **dict.fromkeys(("GlobalAveragePooling2D", "GlobalMaxPooling2D"), _global_pool),
    **dict.fromkeys(("InputLayer", "Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"), _same),
    "Activation": _activation,
    "Add": _merge("add"),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "ELU": _elu,
    "Flatten": _flatten,
    "LeakyReLU": _leaky_relu,
    "Maximum": _merge("maximum"),
    "Multiply": _merge("mul"),
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Softmax": _softmax,
    "Subtract": _merge("sub"),
    "ZeroPadding2D": _zero_padding,
}
"""Class of a layer → what writes it."""

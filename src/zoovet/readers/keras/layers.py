"""Keras' layers with kernels, and poolings: channels-last kernels are turned around."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.keras.activations import activated
from zoovet.readers.keras.calls import LayerCall, LayerReader, Map, pair

__all__ = ["LAYERS"]


def _padding(
    call: LayerCall, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right): TensorFlow's ``same`` puts the odd row or column behind."""
    if call.config.get("padding", "valid") == "valid":
        return (0, 0, 0, 0)
    if call.config["padding"] != "same":
        raise Unreadable("has a padding that is neither valid nor same")
    totals = [
        max((-(-size // step) - 1) * step + reach * (length - 1) + 1 - size, 0)
        for size, length, step, reach in zip(call.require_map()[1:], kernel, stride, dilation, strict=True)
    ]
    return (totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2)


def _window(call: LayerCall, kernel: torch.Tensor) -> dict[str, Any]:
    """Stride, dilation and padding of a convolution."""
    if kernel.ndim != 4:
        raise Unreadable(f"has a kernel of {kernel.ndim} axes, expected are 4")
    size = (kernel.shape[0], kernel.shape[1])
    stride, dilation = pair(call.config["strides"]), pair(call.config.get("dilation_rate", 1))
    return {"stride": stride, "dilation": dilation, "padding": _padding(call, size, stride, dilation)}


def _conv(call: LayerCall) -> Map:
    call.require_map()
    kernel = call.take("kernel")
    site = call.add(
        "conv2d",
        parameters={"weight": call.learned("weight", kernel.permute(3, 2, 0, 1)), "bias": call.bias()},
        groups=call.config.get("groups", 1),
        **_window(call, kernel),
    )
    return activated(call, Map(site), call.config.get("activation"))


def _each_channel(kernel: torch.Tensor) -> torch.Tensor:
    """A depthwise kernel [height, width, channels, multiplier] as [channels · multiplier, 1, height, width]."""
    height, width, _, _ = kernel.shape
    return kernel.permute(2, 3, 0, 1).reshape(-1, 1, height, width)


def _depthwise(call: LayerCall) -> Map:
    channels, kernel = call.require_map()[0], call.take("depthwise kernel")
    window = _window(call, kernel)
    weight = call.learned("weight", _each_channel(kernel))
    site = call.add("conv2d", parameters={"weight": weight, "bias": call.bias()}, groups=channels, **window)
    return activated(call, Map(site), call.config.get("activation"))


def _separable(call: LayerCall) -> Map:
    channels, kernel, points = call.require_map()[0], call.take("depthwise kernel"), call.take("pointwise kernel")
    depthwise = call.learned("depthwise.weight", _each_channel(kernel))
    site = call.add("conv2d", parameters={"weight": depthwise}, groups=channels, **_window(call, kernel))
    pointwise = call.learned("pointwise.weight", points.permute(3, 2, 0, 1))
    site = call.add("conv2d", site, parameters={"weight": pointwise, "bias": call.bias()})
    return activated(call, Map(site), call.config.get("activation"))


def _dense(call: LayerCall) -> Map:
    kernel, value = call.take("kernel"), call.input
    if value.flattened is not None:
        channels, height, width = value.flattened
        if len(kernel) != height * width * channels:
            come = f"{height}×{width}×{channels} come in"
            raise Unreadable(f"does not fit: its kernel reads {len(kernel)} features, but {come}")
        kernel = kernel.reshape(height, width, channels, -1).permute(2, 0, 1, 3).reshape(kernel.shape)
    weight = kernel.T
    if len(call.shape) == 3 and call.layout.channels_last:  # along channels, at every place
        parameters = {"weight": call.learned("weight", weight[:, :, None, None]), "bias": call.bias()}
        site = call.add("conv2d", parameters=parameters)
    else:
        site = call.add("linear", parameters={"weight": call.learned("weight", weight), "bias": call.bias()})
    return activated(call, Map(site), call.config.get("activation"))


def _pool(call: LayerCall) -> Map:
    call.require_map()
    kernel = pair(call.config["pool_size"])
    stride = pair(call.config.get("strides") or kernel)
    settings: dict[str, Any] = {"count_include_pad": False} if call.layer.kind.startswith("Average") else {}
    op, padding = "avg_pool2d" if settings else "max_pool2d", _padding(call, kernel, stride, (1, 1))
    return Map(call.add(op, kernel_size=kernel, stride=stride, padding=padding, **settings))


def _upsampling(call: LayerCall) -> Map:
    _, height, width = call.require_map()
    down, right = pair(call.config.get("size", 2))
    return _interpolated(call, (height * down, width * right))


def _resizing(call: LayerCall) -> Map:
    call.require_map()
    if call.config.get("crop_to_aspect_ratio") or call.config.get("pad_to_aspect_ratio"):
        raise Unreadable("keeps the ratio of height and width")
    if call.config.get("antialias"):
        raise Unreadable("smooths before it resizes")
    return _interpolated(call, (call.config["height"], call.config["width"]), "bilinear")


def _interpolated(call: LayerCall, size: tuple[int, int], usual: str = "nearest") -> Map:
    mode = call.config.get("interpolation", usual)
    if mode not in ("nearest", "bilinear"):
        raise Unreadable(f"interpolates by {mode!r}; nearest and bilinear are known")
    if mode == "nearest" and any(new % old for new, old in zip(size, call.require_map()[1:], strict=True)):
        raise Unreadable("takes the nearest of places that do not repeat evenly")
    return Map(call.add("interpolate", size=size, mode=mode))


def _global_pool(call: LayerCall) -> Map:
    call.require_map()
    op = "mean" if "Average" in call.layer.kind else "amax"
    return Map(call.add(op, dim=(1, 2), keepdim=bool(call.config.get("keepdims", False))))


LAYERS: Mapping[str, LayerReader] = MappingProxyType(
    {
        "AveragePooling2D": _pool,
        "Conv2D": _conv,
        "Dense": _dense,
        "DepthwiseConv2D": _depthwise,
        "GlobalAveragePooling2D": _global_pool,
        "GlobalMaxPooling2D": _global_pool,
        "MaxPooling2D": _pool,
        "Resizing": _resizing,
        "SeparableConv2D": _separable,
        "UpSampling2D": _upsampling,
    }
)
"""Class of a layer → what writes it."""

"""Reading operators of layers: convolutions, products, poolings, reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoovet.readers.exported.values import Unreadable
from zoovet.readers.tflite.calls import MAP_AXES, Held, OperatorCall, OperatorReader

__all__ = ["LAYER_OPERATORS"]

_PADDINGS = ("SAME_UPPER", "VALID")


def _window(call: OperatorCall) -> dict[str, Any]:
    """Strides and padding of what slides over maps."""
    padding = call.settings["padding"]
    if padding not in (0, 1):
        raise Unreadable("has an unknown padding")
    strides = (call.settings["stride_height"], call.settings["stride_width"])
    return {"strides": strides, "auto_pad": _PADDINGS[padding]}


def _convolution(call: OperatorCall) -> Held:
    """Weights are [outputs, height, width, inputs of a group]."""
    value, (number, shape) = call.map(), call.stored(1)
    channels = call.walk.shape(value)[1]
    if len(shape) != 4 or not shape[3] or channels % shape[3]:
        raise Unreadable(f"has weights of {list(shape)} for {channels} channels")
    return _convolved(call, value, call.walk.arranged(number, shape, (0, 3, 1, 2)), channels // shape[3])


def _depthwise(call: OperatorCall) -> Held:
    """Weights are [1, height, width, channels · multiplier], the outputs of a channel one behind the other."""
    value, (number, shape) = call.map(), call.stored(1)
    channels = call.walk.shape(value)[1]
    if len(shape) != 4 or shape[0] != 1 or shape[3] % channels:
        raise Unreadable(f"has weights of {list(shape)} for {channels} channels")
    return _convolved(call, value, call.walk.arranged(number, shape, (3, 0, 1, 2)), channels)


def _convolved(call: OperatorCall, value: str, weight: str, groups: int) -> Held:
    window, dealt = _window(call), call.held().dealt
    dilations = (call.settings["dilation_height"], call.settings["dilation_width"])
    if dealt is not None:
        if {*window["strides"], *dilations} != {1} or window["auto_pad"] != "VALID":
            raise Unreadable("moves by more than a place, or pads, between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND")
        dilations = dealt
    made = call.one("Conv", value, weight, *_bias(call), group=groups, dilations=dilations, **window)
    return Held(made, is_map=True, dealt=dealt)


def _bias(call: OperatorCall) -> list[str]:
    return [call.plain(2)] if call.has(2) else []


def _fully_connected(call: OperatorCall) -> Held:
    """Weights are [outputs, inputs]; values become [·, inputs] first, or keep all axes but the last."""
    if call.settings["weights_format"]:
        raise Unreadable("has its weights in another order than by rows")
    held, shape, (number, weights) = call.held(), call.shape(), call.stored(1)
    if len(weights) != 2:
        raise Unreadable(f"has weights of {list(weights)}, which are no matrix")
    outputs, inputs = weights
    if held.is_flat:
        _, channels, height, width = shape
        if channels * height * width != inputs:
            raise Unreadable(f"has weights of {list(weights)} for {channels * height * width} numbers")
        weight = call.walk.arranged(number, (outputs, height, width, channels), (0, 3, 1, 2), weights)
        return Held(call.one("Gemm", call.one("Flatten", held.name), weight, *_bias(call), transB=1))
    if call.settings["keep_num_dims"] and held.is_map:
        weight = call.walk.arranged(number, (outputs, inputs, 1, 1), (0, 1, 2, 3))
        return Held(call.one("Conv", held.name, weight, *_bias(call)), is_map=True)
    if call.settings["keep_num_dims"] and len(shape) != 2:
        made = call.one("MatMul", call.plain(), call.walk.arranged(number, weights, (1, 0)))
        return Held(call.one("Add", made, *_bias(call)) if call.has(2) else made)
    value = call.plain() if not held.is_map or math.prod(shape[2:]) > 1 else held.name
    if len(shape) != 2:
        value = call.one("Reshape", value, call.integers((-1, inputs)))
    weight = call.walk.arranged(number, weights, (0, 1))
    return Held(call.one("Gemm", value, weight, *_bias(call), transB=1))


def _batch_product(call: OperatorCall) -> Held:
    sides = []
    for index, name in enumerate(("adj_x", "adj_y")):
        value = call.plain(index)
        axes = list(range(len(call.walk.shape(value))))
        if call.settings[name]:
            value = call.one("Transpose", value, perm=(*axes[:-2], *axes[:-3:-1]))
        sides.append(value)
    return Held(call.one("MatMul", *sides))


def _pooling(op: str) -> OperatorReader:
    def read(call: OperatorCall) -> Held:
        kernel = (call.settings["filter_height"], call.settings["filter_width"])
        if min(kernel) < 1:
            raise Unreadable("has a window of no size")
        return Held(call.one(op, call.map(), kernel_shape=kernel, **_window(call)), is_map=True)

    return read


def _local_response_norm(call: OperatorCall) -> Held:
    size = 2 * call.settings["radius"] + 1
    settings = {name: call.settings[name] for name in ("bias", "beta")}
    made = call.one("LRN", call.map(), size=size, alpha=call.settings["alpha"] * size, **settings)
    return Held(made, is_map=True)


def _reduction(op: str) -> OperatorReader:
    def read(call: OperatorCall) -> Held:
        held, rank, keeps = call.held(), len(call.shape()), bool(call.settings["keep_dims"])
        if held.is_flat:
            rank = 2
        axes = call.known_integers(1)
        if any(not -rank <= axis < rank for axis in axes):
            raise Unreadable(f"names axes among {list(axes)} of {rank}")
        axes = tuple(sorted({axis % rank for axis in axes}))
        kept = [axis for axis in range(rank) if axis not in axes]
        # Channels stay last where they are all that is left, or are gone.
        stays = held.is_map and (keeps or 3 not in kept or len(kept) <= 2)
        value = held.name if stays else call.plain()
        own = tuple(MAP_AXES[axis] for axis in axes) if stays else axes
        return Held(call.one(op, value, call.integers(own), keepdims=int(keeps)), is_map=stays and keeps)

    return read


LAYER_OPERATORS: Mapping[str, OperatorReader] = MappingProxyType(
    {
        "CONV_2D": _convolution,
        "DEPTHWISE_CONV_2D": _depthwise,
        "FULLY_CONNECTED": _fully_connected,
        "BATCH_MATMUL": _batch_product,
        "MAX_POOL_2D": _pooling("MaxPool"),
        "AVERAGE_POOL_2D": _pooling("AveragePool"),
        "LOCAL_RESPONSE_NORMALIZATION": _local_response_norm,
        "MEAN": _reduction("ReduceMean"),
        "SUM": _reduction("ReduceSum"),
        "REDUCE_MAX": _reduction("ReduceMax"),
        "REDUCE_PROD": _reduction("ReduceProd"),
    }
)
"""Name of an operator → what reads it."""

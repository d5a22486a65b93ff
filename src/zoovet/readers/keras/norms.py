"""Keras' norms, and layers that scale their input."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.readers.exported.values import Constant, Unreadable
from zoovet.readers.keras.calls import LayerCall, LayerReader, Map

__all__ = ["NORMS"]


def _plain_input(call: LayerCall) -> None:
    """Have the input in Keras' order."""
    call.inputs[0] = Map(call.plain(call.input))


def _axes(call: LayerCall) -> list[int]:
    axis = call.config.get("axis", -1)
    return sorted(call.axis(int(one)) for one in (axis if isinstance(axis, list) else [axis]))


def _affine(call: LayerCall) -> dict[str, Constant | None]:
    """``weight`` and ``bias`` of a norm that may lack either."""
    given = [name for name, key in (("gamma", "scale"), ("beta", "center")) if call.config.get(key, True)]
    found = {name: call.take(name) for name in given}
    size = next((tensor.numel() for tensor in found.values()), 0)
    if not found:
        return {"weight": None, "bias": None}
    gamma, beta = found.get("gamma", torch.ones(size)), found.get("beta", torch.zeros(size))
    return {"weight": call.learned("weight", gamma), "bias": call.learned("bias", beta)}


def _batch_norm(call: LayerCall) -> Map:
    _plain_input(call)
    if _axes(call) != [call.channel_axis] or call.channel_axis != 0:
        raise Unreadable("works along another axis than that of channels")
    size = call.shape[0]
    parameters = _affine(call)
    if parameters["weight"] is None:
        parameters = {"weight": call.learned("weight", torch.ones(size)), "bias": None}
        parameters["bias"] = call.learned("bias", torch.zeros(size))
    parameters |= {f"running_{name}": call.fixed(f"running_{name}", call.take(f"moving {name}")) for name in _MOMENTS}
    return Map(call.add("batch_norm", eps=float(call.config.get("epsilon", 1e-3)), parameters=parameters))


_MOMENTS = ("mean", "var")


def _layer_norm(call: LayerCall) -> Map:
    if call.config.get("rms_scaling"):
        raise Unreadable("divides by the root mean square alone (rms_scaling)")
    _plain_input(call)
    axes, shape = _axes(call), call.shape
    eps, parameters = float(call.config.get("epsilon", 1e-3)), _affine(call)
    if axes == list(range(len(shape))):
        sizes = tuple(shape)
        if len(shape) == 3 and call.layout.channels_last:
            turned = {role: _turned(one, (*shape[1:], shape[0])) for role, one in parameters.items()}
            parameters = turned
        settings: dict[str, Any] = {"normalized_shape": sizes, "eps": eps, "parameters": parameters}
        return Map(call.add("layer_norm", **settings))
    if axes != [call.channel_axis]:
        raise Unreadable("works along other axes than that of channels, or all")
    settings = {"normalized_shape": (shape[axes[0]],), "eps": eps, "parameters": parameters}
    if len(shape) != 3:
        return Map(call.add("layer_norm", **settings))
    site = call.add("layer_norm", call.add("permute", dims=(1, 2, 0)), **settings)
    return Map(call.add("permute", site, dims=(2, 0, 1)))


def _turned(constant: Constant | None, shape: tuple[int, ...]) -> Constant | None:
    if constant is None:
        return None
    numbers = constant.tensor.reshape(shape).permute(2, 0, 1).contiguous()
    return Constant(numbers, constant.name, constant.is_learned)


def _group_norm(call: LayerCall) -> Map:
    _plain_input(call)
    if _axes(call) != [call.channel_axis] or call.channel_axis != 0:
        raise Unreadable("works along another axis than that of channels")
    groups = int(call.config.get("groups", 32))
    groups = call.shape[0] if groups == -1 else groups
    eps = float(call.config.get("epsilon", 1e-3))
    return Map(call.add("group_norm", num_groups=groups, eps=eps, parameters=_affine(call)))


def _normalization(call: LayerCall) -> Map:
    if call.config.get("invert"):
        raise Unreadable("undoes a normalization (invert)")
    _plain_input(call)
    axis = call.config.get("axis", -1)
    given = [] if axis is None else [int(one) for one in (axis if isinstance(axis, list) else [axis])]
    numbers = [call.config.get(name) for name in ("mean", "variance")]
    if numbers[0] is None:
        tensors = [call.take("mean"), call.take("variance")]
        if call.num_left:
            call.take("count")
    else:
        tensors = [torch.as_tensor(one, dtype=torch.float32) for one in numbers]
    axes = tuple(call.axis(one) for one in sorted(one % (len(call.shape) + 1) for one in given))
    mean, deviation = tensors[0], tensors[1].sqrt().clamp_min(1e-7)
    site = call.add("sub", call.inputs[0].site, _spread(call, "mean", mean, axes))
    return Map(call.add("div", site, _spread(call, "deviation", deviation, axes)))


def _spread(call: LayerCall, name: str, numbers: Tensor, axes: tuple[int, ...]) -> str:
    """A site of numbers along some axes, or of one for all."""
    if numbers.numel() == 1:
        return call.beside(call.fixed(name, numbers.reshape(())), ())
    sizes = [call.shape[axis] for axis in axes]
    missing = len(sizes) - numbers.ndim
    return call.beside(call.fixed(name, numbers[(None,) * missing].expand(sizes)), axes)


def _rescaling(call: LayerCall) -> Map:
    scale, offset = call.config["scale"], call.config.get("offset", 0.0)
    if isinstance(scale, int | float) and isinstance(offset, int | float):
        site = call.add("mul_scalar", scalar=float(scale))
        return Map(call.add("add_scalar", site, scalar=float(offset)), call.input.flattened)
    _plain_input(call)
    factors, offsets = (torch.as_tensor(one, dtype=torch.float32) for one in (scale, offset))
    axes = (call.axis(-1),)
    site = call.add("mul", call.inputs[0].site, _spread(call, "scale", factors, axes))
    return Map(call.add("add", site, _spread(call, "offset", offsets, axes)))


NORMS: Mapping[str, LayerReader] = MappingProxyType(
    {
        "BatchNormalization": _batch_norm,
        "GroupNormalization": _group_norm,
        "LayerNormalization": _layer_norm,
        "Normalization": _normalization,
        "Rescaling": _rescaling,
    }
)
"""Class of a layer → what writes it."""

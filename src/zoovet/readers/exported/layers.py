"""Reading calls of layers: convolutions, products, attention, norms, poolings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zoovet.readers.exported.calls import Call, Reader, pair, sides
from zoovet.readers.exported.values import Constant, Unreadable, Variable

__all__ = ["LAYER_READERS"]


def _convolution(call: Call) -> Variable:
    value, weight = call.plain("input"), call.constant("weight")
    assert weight is not None
    if len(value.shape) != 4:
        raise Unreadable(f"slides over {len(value.shape) - 2} axes; only over height and width is known")
    dilation, padding = pair(call["dilation"]), call["padding"]
    site = call.writer.add(
        "conv2d",
        value.site,
        parameters={"weight": weight, "bias": call.constant("bias")},
        stride=pair(call["stride"]),
        padding=_named_padding(padding, weight, dilation) if isinstance(padding, str) else sides(padding),
        dilation=dilation,
        groups=call["groups"],
    )
    return value.like(site, call.shape)


def _convolution_along_one_axis(call: Call) -> Variable:
    """As one of maps of one row; its padding may be one number, or one before and one behind."""
    value, weight, padding = call.plain("input"), call.constant("weight"), call["padding"]
    assert weight is not None
    if len(value.shape) != 3 or weight.tensor.ndim != 3:
        raise Unreadable(f"slides over {len(value.shape) - 2} axes, expected is one")
    kernel, dilation = Constant(weight.tensor.unsqueeze(2), is_learned=weight.is_learned), (1, call["dilation"][0])
    rows = call.writer.reshape(value, (*value.shape[:2], 1, value.shape[2]))
    site = call.writer.add(
        "conv2d",
        rows.site,
        parameters={"weight": kernel, "bias": call.constant("bias")},
        stride=(1, call["stride"][0]),
        padding=(
            _named_padding(padding, kernel, dilation) if isinstance(padding, str) else (0, padding[0], 0, padding[-1])
        ),
        dilation=dilation,
        groups=call["groups"],
    )
    channels, _, length = call.writer.site(site).shape
    made = rows.like(site, (value.shape[0], channels, 1, length))
    return call.writer.reshape(made, (value.shape[0], channels, length))


def _raw_convolution(call: Call) -> Variable:
    if call["transposed"]:
        raise Unreadable("is transposed")
    return _convolution(call)


def _named_padding(padding: str, weight: Constant, dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    if padding == "valid":
        return (0, 0, 0, 0)
    down, right = (dilation[axis] * (weight.tensor.shape[2 + axis] - 1) for axis in (0, 1))
    return (down // 2, right // 2, down - down // 2, right - right // 2)


def _linear(call: Call) -> Variable:
    return _product(call, call.variable("input"), call.constant("weight"), call.constant("bias"))


def _product(call: Call, value: Variable, weight: Constant | None, bias: Constant | None) -> Variable:
    """A value's last axis times a weight [out, in]."""
    value.site_axis(-1)
    site = call.writer.add("linear", value.site, parameters={"weight": weight, "bias": bias})
    return value.like(site, call.shape)


def _transposed(constant: Constant) -> Constant:
    return Constant(constant.tensor.transpose(0, 1).contiguous(), is_learned=constant.is_learned)


def _addmm(call: Call) -> Variable:
    weight = call.constant("mat2")
    if weight is None or call["beta"] != 1 or call["alpha"] != 1:
        raise Unreadable("has factors")
    return _product(call, call.variable("mat1"), _transposed(weight), call.constant("self"))


def _matmul(first_name: str, second_name: str) -> Reader:
    def read(call: Call) -> Variable:
        first, second = call[first_name], call[second_name]
        if isinstance(first, Variable) and isinstance(second, Constant) and len(call.shape) == len(first.shape):
            *leading, rows, columns = (1, *second.tensor.shape)
            if set(leading) == {1} and second.tensor.ndim > 1:
                matrix = Constant(second.tensor.reshape(rows, columns), is_learned=second.is_learned)
                return _product(call, first, _transposed(matrix), None)
        return _matrices(call, first, second)

    return read


def _matrices(call: Call, first: Any, second: Any) -> Variable:
    """A product of two tensors of as many axes, leading ones repeated where one has 1."""
    value = first if isinstance(first, Variable) else second
    other = second if value is first else first
    if len(other.tensor.shape if isinstance(other, Constant) else other.shape) > len(value.shape):
        raise Unreadable("multiplies values of fewer axes than the other's")
    if isinstance(other, Variable) and _place(other) != _place(value):
        raise Unreadable("multiplies images by others")
    if value.axis >= len(value.shape) - 2:
        raise Unreadable("works across images")
    sites = [
        operand.site if isinstance(operand, Variable) else call.writer.beside(operand, value)
        for operand in (first, second)
    ]
    shapes = [call.writer.site(site).shape for site in sites]
    leading = tuple(max(sizes) for sizes in zip(*(shape[:-2] for shape in shapes), strict=True))
    sites = [
        site if shape[:-2] == leading else call.writer.add("expand", site, shape=(*leading, *shape[-2:]))
        for site, shape in zip(sites, shapes, strict=True)
    ]
    return value.like(call.writer.add("matmul", *sites), call.shape)


def _place(value: Variable) -> tuple[int, int, int, int]:
    """Where images are, and among how many axes."""
    return value.axis, value.outer, value.inner, len(value.shape)


def _attention(call: Call) -> Variable:
    query, key, value = (call.variable(name) for name in ("query", "key", "value"))
    if call["dropout_p"] or call.arguments.get("enable_gqa"):
        raise Unreadable("drops numbers, or has fewer keys than queries")
    if len({_place(one) for one in (query, key, value)}) > 1:
        raise Unreadable("puts images beside others")
    if query.axis >= len(query.shape) - 2:
        raise Unreadable("works across images")
    inputs = [query.site, key.site, value.site]
    mask = call["attn_mask"]
    if isinstance(mask, Variable):
        if _place(mask) != _place(query):
            raise Unreadable("puts images beside others")
        inputs.append(mask.site)
    elif isinstance(mask, Constant):
        inputs.append(call.writer.beside(_additive(mask), query))
    scale = call["scale"]
    site = call.writer.add(
        "scaled_dot_product_attention",
        *inputs,
        is_causal=call["is_causal"],
        scale=None if scale is None else float(scale),
    )
    return query.like(site, call.shape)


def _additive(mask: Constant) -> Constant:
    """A mask of truth values as numbers that are added: far below 0 where nothing is to be seen."""
    if mask.tensor.is_floating_point():
        lowest = mask.tensor.clamp_min(-1e30)
        return Constant(lowest, mask.name if bool((lowest == mask.tensor).all()) else "", mask.is_learned)
    return Constant((~mask.tensor.bool()) * -1e30)


def _batch_norm(call: Call) -> Variable:
    if call.arguments.get("training") or call["running_mean"] is None:
        raise Unreadable("keeps no running statistics, so what it computes depends on the batch")
    value = call.variable("input")
    if value.axis != 0:
        raise Unreadable("works across images")
    parameters = {role: call.constant(role) for role in ("weight", "bias", "running_mean", "running_var")}
    # Where places are merged with images, as [images · places, channels], the site is [places, channels].
    order = (1, 0, *range(2, len(value.site_shape))) if value.is_merged else ()
    site = call.writer.add("permute", value.site, dims=order) if order else value.site
    site = call.writer.add("batch_norm", site, parameters=parameters, eps=float(call["eps"]))
    return value.like(call.writer.add("permute", site, dims=order) if order else site, value.shape)


def _instance_norm(call: Call) -> Variable:
    if not call["use_input_stats"]:
        return _batch_norm(call)
    return _norm(call, "instance_norm", call.plain("input"), eps=float(call["eps"]))


def _group_norm(call: Call) -> Variable:
    return _norm(call, "group_norm", call.plain("input"), num_groups=call["num_groups"], eps=float(call["eps"]))


def _layer_norm(call: Call) -> Variable:
    value, normalized = call.variable("input"), tuple(call["normalized_shape"])
    if value.axis >= len(value.shape) - len(normalized):
        raise Unreadable("works across images")
    return _norm(call, "layer_norm", value, normalized_shape=normalized, eps=float(call["eps"]))


def _norm(call: Call, op: str, value: Variable, **attributes: Any) -> Variable:
    parameters = {"weight": call.constant("weight"), "bias": call.constant("bias")}
    return value.like(call.writer.add(op, value.site, parameters=parameters, **attributes), value.shape)


def _pooling(op: str) -> Reader:
    def read(call: Call) -> Any:
        value, kernel = call.plain(), pair(call["kernel_size"])
        if len(value.shape) != 4:
            raise Unreadable("pools over other axes than height and width")
        if call.arguments.get("divisor_override") is not None:
            raise Unreadable("has a divisor of its own")
        attributes: dict[str, Any] = {
            "kernel_size": kernel,
            "stride": pair(call["stride"]) if call["stride"] else kernel,
            "padding": sides(call["padding"]),
            "ceil_mode": call["ceil_mode"],
        }
        if op == "max_pool2d":
            attributes["dilation"] = pair(call["dilation"])
        else:
            attributes["count_include_pad"] = call["count_include_pad"]
        site = call.writer.add(op, value.site, **attributes)
        return value.like(site, (*value.shape[:1], *call.writer.site(site).shape))

    return read


def _channel_means(call: Call) -> Variable:
    """An average over neighbouring channels: a pooling over three axes whose windows have one place of a map."""
    value, kernel, stride = call.plain(), call["kernel_size"], call["stride"]
    (size, *places), (step, *steps) = kernel, stride or kernel
    if len(value.shape) != 5 or {*places, *steps} != {1} or any(call["padding"]) or call["ceil_mode"]:
        raise Unreadable("pools over three axes at once")
    if call.arguments.get("divisor_override") is not None:
        raise Unreadable("has a divisor of its own")
    flat = call.writer.reshape(value, (*value.shape[:3], value.shape[3] * value.shape[4]))
    site = call.writer.add("avg_pool2d", flat.site, kernel_size=(size, 1), stride=(step, 1))
    means = flat.like(site, (*value.shape[:1], *call.writer.site(site).shape))
    return call.writer.reshape(means, (*means.shape[:3], *value.shape[3:]))


def _adaptive(op: str) -> Reader:
    def read(call: Call) -> Variable:
        value = call.plain()
        if len(value.shape) != 4:
            raise Unreadable("pools over other axes than height and width")
        sizes = pair(call["output_size"])
        output_size = tuple(size or value.shape[2 + axis] for axis, size in enumerate(sizes))
        site = call.writer.add(op, value.site, output_size=output_size)
        return value.like(site, (*value.shape[:2], *output_size))

    return read


def _reduction(op: str, index: str = "dim") -> Reader:
    def read(call: Call) -> Variable:
        value, axes = call.variable(), call.arguments.get(index)
        if axes is None or axes == []:
            raise Unreadable("works across images")
        axes = [axes] if isinstance(axes, int) else list(axes)
        kept = bool(call.arguments.get("keepdim", False))
        inside = tuple(sorted(value.site_axis(axis) for axis in axes))
        site = call.writer.add(op, value.site, dim=inside, keepdim=kept)
        gone = [axis % len(value.shape) for axis in axes]
        before = 0 if kept else sum(axis < value.axis for axis in gone)
        shape = [1 if axis in gone else size for axis, size in enumerate(value.shape) if kept or axis not in gone]
        return Variable(site, tuple(shape), value.axis - before, value.outer, value.inner)

    return read


def _vector_norm(order_name: str) -> Reader:
    """The root of the sum of squares, or the sum of sizes."""

    def read(call: Call) -> Variable:
        order = call[order_name]
        if order not in (None, 1, 2):
            raise Unreadable(f"is of order {order}")
        value = call.like("abs", call.variable()) if order == 1 else call.like("pow", call.variable(), exponent=2.0)
        total = _reduction("sum")(Call(call.writer, {**call.arguments, "self": value}, call.shape))
        return total if order == 1 else call.like("sqrt", total)

    return read


def _first_of_two(read: Reader) -> Reader:
    """What gives values and their places: only the values are known."""
    return lambda call: (read(call), None)


LAYER_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "conv1d": _convolution_along_one_axis,
        "conv2d": _convolution,
        "convolution": _raw_convolution,
        "linear": _linear,
        "addmm": _addmm,
        "matmul": _matmul("self", "other"),
        "mm": _matmul("self", "mat2"),
        "bmm": _matmul("self", "mat2"),
        "scaled_dot_product_attention": _attention,
        "batch_norm": _batch_norm,
        "_native_batch_norm_legit_no_training": _first_of_two(_batch_norm),
        "instance_norm": _instance_norm,
        "group_norm": _group_norm,
        "layer_norm": _layer_norm,
        "max_pool2d": _pooling("max_pool2d"),
        "max_pool2d_with_indices": _first_of_two(_pooling("max_pool2d")),
        "avg_pool2d": _pooling("avg_pool2d"),
        "avg_pool3d": _channel_means,
        "adaptive_avg_pool2d": _adaptive("adaptive_avg_pool2d"),
        "adaptive_max_pool2d": _first_of_two(_adaptive("adaptive_max_pool2d")),
        "mean": _reduction("mean"),
        "sum": _reduction("sum"),
        "amax": _reduction("amax"),
        "linalg_vector_norm": _vector_norm("ord"),
        "norm": _vector_norm("p"),
        "max": _first_of_two(_reduction("amax")),
    }
)
"""ATen's name → what reads it."""

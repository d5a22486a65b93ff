"""Operations with weights as calls of the C code: convolutions, linear operations, batch norms."""

from __future__ import annotations

import math

from zoovet.networks import Operation
from zoovet.zoo.native.convolution_shape import ConvolutionShape
from zoovet.zoo.native.graph_activations import activation_words
from zoovet.zoo.native.graph_lanes import padded
from zoovet.zoo.native.graph_plan import Place
from zoovet.zoo.native.graph_steps import Barrier, Emitter, Step, StepKind, adds_to, is_unread

__all__ = ["WEIGHTED"]

# ---- convolutions and linear operations ------------------------------------------------------------------------------


def _shape(emitter: Emitter, operation: Operation) -> ConvolutionShape:
    return ConvolutionShape.of(emitter.graph, operation)


def _kernel(shape: ConvolutionShape, kernel: tuple[int, int], backward: bool = False) -> tuple[str, int]:
    """The C code's ``kernel``, and how many channels it reads."""
    channels = shape.channels_in if backward else shape.channels_out
    makes = shape.channels_out // shape.groups
    if shape.is_depthwise:
        reads, groups = 1, 0
    elif shape.is_merged:
        reads, groups = shape.channels_out if backward else shape.channels_in, 1
    else:
        reads, groups = makes if backward else shape.reads, shape.groups
    return f"(kernel){{{reads}, {padded(channels, shape.lanes)}, {groups}, {kernel[0]}, {kernel[1]}}}", reads


def _forward_steps(shape: ConvolutionShape, x: Place) -> tuple[str, int]:
    """The C code's ``steps``, and the first tap's distance from a map's first pixel."""
    (high, wide), (down, right), (top, left) = shape.dilation, shape.stride, shape.padding
    steps = f"(steps){{{high * x.row}, {wide * x.pixel}, {down * x.row}, {right * x.pixel}}}"
    return steps, -(top * x.row + left * x.pixel)


def _declare_weights(emitter: Emitter, operation: Operation, shape: ConvolutionShape) -> tuple[int, int, int]:
    """Where the packed weights, those for the way back, and the bias start."""
    taps = math.prod(shape.kernel)
    lanes_in, lanes_out = padded(shape.channels_in, shape.lanes), padded(shape.channels_out, shape.lanes)
    _, reads = _kernel(shape, shape.kernel)
    _, makes = _kernel(shape, shape.kernel, backward=True)
    start, back = emitter.room(taps * reads * lanes_out), emitter.room(taps * makes * lanes_in)
    bias = emitter.room(lanes_out)
    layout = (
        f"(layout){{{shape.channels_in}, {shape.channels_out}, {lanes_in}, {lanes_out}, {shape.groups}, "
        f"{int(shape.is_merged)}, {taps}}}"
    )
    weight, grad = emitter.flat(operation, "weight"), emitter.flat(operation, "weight", "flat_gradients")
    emitter.packing.append(f"pack_weights({layout}, {weight}, s->packed + {start}, s->packed + {back});")
    emitter.unpacking.append(f"unpack_gradient({layout}, s->packed_gradients + {start}, {grad});")
    if "bias" in operation.parameters:
        flat = emitter.flat(operation, "bias")
        emitter.packing.append(f"memcpy(s->packed + {bias}, {flat}, {4 * shape.channels_out});")
        to = emitter.flat(operation, "bias", "flat_gradients")
        emitter.unpacking.append(
            f"for (int o = 0; o < {shape.channels_out}; o++) ({to})[o] += s->packed_gradients[{bias} + o];"
        )
    used = bias + lanes_out - start
    emitter.unpacking.append(f"memset(s->packed_gradients + {start}, 0, {4 * used});")
    return start, back, bias


def _convolution_forward(emitter: Emitter, operation: Operation) -> list[Step | Barrier]:
    shape = _shape(emitter, operation)
    starts = emitter.packed[operation.output] = _declare_weights(emitter, operation, shape)
    start, _, bias = starts
    x, y = emitter.places[operation.inputs[0]].value, emitter.places[operation.output].value
    kernel, reads = _kernel(shape, shape.kernel)
    steps, offset = _forward_steps(shape, x)
    lanes = padded(shape.channels_out, shape.lanes)
    body = (
        f"convolve({kernel}, {steps}, (map){{{y.row}, {y.pixel}}}, {y.height}, {y.width}, x + {offset}, w, "
        f"{shape.kernel[1] * reads * lanes}, {reads * lanes}, bias, y, 0);"
    )
    given_bias = f"s->packed + {bias}" if "bias" in operation.parameters else "NULL"
    arguments = "const float *x, const float *w, const float *bias, float *y"
    source, result = emitter.value(operation.inputs[0]), emitter.value(operation.output)
    return [Step(emitter.call(arguments, body, source, f"s->packed + {start}", given_bias, result))]


def _convolution_backward(
    emitter: Emitter, operation: Operation, written: set[str], is_batch: bool
) -> list[Step | Barrier]:
    shape = _shape(emitter, operation)
    source = operation.inputs[0]
    start, back, bias = emitter.packed[operation.output]
    x, dy = emitter.places[source].value, emitter.places[operation.output].gradient
    kernel, _ = _kernel(shape, shape.kernel)
    steps, offset = _forward_steps(shape, x)
    body = (
        f"add_weight_gradient({kernel}, {steps}, (map){{{dy.row}, {dy.pixel}}}, {dy.height}, {dy.width}, "
        f"x + {offset}, dy, into, into_bias);"
    )
    into_bias = f"s->packed_gradients + {bias}" if "bias" in operation.parameters else "NULL"
    arguments = "const float *x, const float *dy, float *into, float *into_bias"
    result = emitter.gradient(operation.output)
    made: list[Step | Barrier] = [
        Step(emitter.call(arguments, body, emitter.value(source), result, f"s->packed_gradients + {start}", into_bias))
    ]
    if not is_unread(source, is_batch):
        adds = adds_to(written, source)
        body = _input_gradient(shape, emitter.places[source].gradient, dy, adds)
        arguments = "const float *dy, const float *w, float *dx"
        made.append(Step(emitter.call(arguments, body, result, f"s->packed + {back}", emitter.gradient(source))))
    return made


def _input_gradient(shape: ConvolutionShape, dx: Place, dy: Place, adds: int) -> str:
    """Convolutions of the gradient to the output: one for each remainder of places under the strides."""
    lanes, (_, columns) = padded(shape.channels_in, shape.lanes), shape.kernel
    (high, wide), (down, right) = shape.dilation, shape.stride
    calls = []
    for rows in shape.phases(0):
        for across in shape.phases(1):
            kernel, reads = _kernel(shape, (rows.taps, across.taps), backward=True)
            if not rows.taps * across.taps and adds:
                continue
            steps = f"(steps){{{-high * dy.row}, {-wide * dy.pixel}, {dy.row}, {dy.pixel}}}"
            tap = (rows.tap * columns + across.tap) * reads * lanes
            calls.append(
                f"convolve({kernel}, {steps}, (map){{{down * dx.row}, {right * dx.pixel}}}, {rows.count}, "
                f"{across.count}, dy + {rows.base * dy.row + across.base * dy.pixel}, w + {tap}, "
                f"{down * columns * reads * lanes}, {right * reads * lanes}, NULL, "
                f"dx + {rows.first * dx.row + across.first * dx.pixel}, {adds});"
            )
    return " ".join(calls)


# ---- batch norms -----------------------------------------------------------------------------------------------------


def _norm_forward(emitter: Emitter, operation: Operation) -> list[Step | Barrier]:
    source, result = operation.inputs[0], operation.output
    made = emitter.fused.get(result, result)
    x, y = emitter.places[source].value, emitter.places[made].value
    number = emitter.norms[result] = len(emitter.norm_channels)
    emitter.norm_channels.append(x.channels)
    flat = [emitter.flat(operation, role) for role in ("weight", "bias", "running_mean", "running_var")]
    given = f"&s->norms[{number}], {x.channels}, {operation.attributes['eps']!r}f, {', '.join(flat)}"
    emitter.before_evaluation.append(f"norm_evaluate({given});")
    add = emitter.call(
        "const float *x, norm *b", f"norm_add({x.constant}, x, b);", emitter.value(source), f"&s->norms[{number}]"
    )
    apply = emitter.call(
        "const float *x, float *y, const norm *b",
        f"norm_apply({_activation(emitter, result)}, {x.constant}, {y.constant}, x, y, b);",
        *(emitter.value(source), emitter.value(made), f"&s->norms[{number}]"),
    )
    return [Step(add, is_of_batch=True), Barrier(f"norm_finish({given});"), Step(apply)]


def _activation(emitter: Emitter, norm: str) -> str:
    """The activation that is one step with a norm, as C's first arguments."""
    made = emitter.fused.get(norm)
    return "IDENTITY, 0" if made is None else activation_words(emitter.graph.makers[made])


def _norm_backward(emitter: Emitter, operation: Operation, written: set[str], is_batch: bool) -> list[Step | Barrier]:
    source, result = operation.inputs[0], operation.output
    number, read = emitter.norms[result], emitter.fused.get(result, result)
    x, dx, dy = emitter.places[source].value, emitter.places[source].gradient, emitter.places[read].gradient
    reduce = emitter.call(
        "const float *x, float *dy, norm *b",
        f"norm_reduce({_activation(emitter, result)}, {x.constant}, {dy.constant}, x, dy, b);",
        *(emitter.value(source), emitter.gradient(read), f"&s->norms[{number}]"),
    )
    to = [emitter.flat(operation, role, "flat_gradients") for role in ("weight", "bias")]
    finish = f"norm_finish_back(&s->norms[{number}], {x.channels}, %s, {', '.join(to)});"
    made: list[Step | Barrier] = [Step(reduce)]
    if is_batch:
        made.append(Barrier(finish % f"s->count * {float(x.height * x.width)}"))
    else:
        emitter.after_evaluation.append(finish % "0")
    if not is_unread(source, is_batch):
        adds = adds_to(written, source)
        back = emitter.call(
            "const float *x, float *dx, const float *dy, const norm *b",
            f"norm_back({x.constant}, {dx.constant}, {dy.constant}, x, dx, dy, b, {adds});",
            *(emitter.value(source), emitter.gradient(source), emitter.gradient(read), f"&s->norms[{number}]"),
        )
        made.append(Step(back))
    return made


_CONVOLUTION = StepKind(_convolution_forward, _convolution_backward)

WEIGHTED: dict[str, StepKind] = {
    "conv2d": _CONVOLUTION,
    "linear": _CONVOLUTION,
    "batch_norm": StepKind(_norm_forward, _norm_backward),
}
"""Operation → its steps."""

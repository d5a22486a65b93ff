"""Operations without weights as calls of the C code: activations, sums, pools, what moves numbers."""

from __future__ import annotations

from zoovet.networks import Operation
from zoovet.zoo.native.graph_activations import ACTIVATIONS, activation_words
from zoovet.zoo.native.graph_plan import Place
from zoovet.zoo.native.graph_steps import Barrier, Emitter, Step, StepKind, adds_to, is_unread
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["UNWEIGHTED"]

_Steps = list[Step | Barrier]


def _activate(emitter: Emitter, operation: Operation) -> _Steps:
    words = activation_words(operation)
    source, result = operation.inputs[0], operation.output
    if result in emitter.fused.values():
        return []
    x, y = emitter.places[source].value, emitter.places[result].value
    body = f"activate({words}, {x.constant}, {y.constant}, x, y);"
    made = Step(emitter.call("const float *x, float *y", body, emitter.value(source), emitter.value(result)))
    return [made, *_drop(emitter, y, result, emitter.value(result))]


def _activate_back(emitter: Emitter, operation: Operation, written: set[str], is_batch: bool) -> _Steps:
    """The derivative is found from the value; from x where the activation is not monotonous."""
    source, result = operation.inputs[0], operation.output
    if is_unread(source, is_batch) or result in emitter.fused.values():
        return []
    adds, words = adds_to(written, source), activation_words(operation)
    is_monotonous = operation.op not in ("silu", "gelu") and operation.attributes.get("negative_slope", 0.0) >= 0
    read = result if is_monotonous and operation.attributes.get("alpha", 0.0) >= 0 else source
    constants = [
        emitter.places[read].value.constant,
        emitter.places[result].value.constant,
        emitter.places[source].gradient.constant,
        emitter.places[result].gradient.constant,
    ]
    keep = "keep" if emitter.drops else "1"
    body = f"activate_back({words}, {', '.join(constants)}, x, y, dx, dy, {adds}, {keep});"
    given = [emitter.value(read), emitter.value(result), emitter.gradient(source), emitter.gradient(result)]
    arguments = "const float *x, const float *y, float *dx, const float *dy"
    if emitter.drops:
        arguments, given = f"{arguments}, float keep", [*given, "s->keep"]
    dropped = _drop(emitter, emitter.places[result].gradient, result, emitter.gradient(result))
    return [*dropped, Step(emitter.call(arguments, body, *given))]


def _drop(emitter: Emitter, place: Place, site: str, there: str) -> _Steps:
    """Dropout of a site's values or gradients, ``there`` in C; both ways the same numbers are dropped."""
    if not emitter.drops:
        return []
    body = f"if (keep < 1) drop({place.constant}, y, key, keep);"
    key = f"drop_key(s->seed, s->start + n, {emitter.places[site].number})"
    return [Step(emitter.call("float *y, uint32_t key, float keep", body, there, key, "s->keep"))]


def _copy_back(emitter: Emitter, source: str, result: str, written: set[str], is_batch: bool) -> _Steps:
    """The gradient to the result is that to the source."""
    if is_unread(source, is_batch):
        return []
    places = emitter.places
    adds = adds_to(written, source)
    body = f"copy({places[result].gradient.constant}, {places[source].gradient.constant}, dy, dx, {adds});"
    return [Step(emitter.call("const float *dy, float *dx", body, emitter.gradient(result), emitter.gradient(source)))]


def _add_forward(emitter: Emitter, operation: Operation) -> _Steps:
    sites = [*operation.inputs, operation.output]
    shapes = {emitter.graph.sites[site].shape for site in sites}
    if len(shapes) > 1:
        raise NativeUnavailable(f"{operation.describe()} broadcasts one of its inputs")
    constants = ", ".join(emitter.places[site].value.constant for site in sites)
    given = [emitter.value(site) for site in sites]
    return [Step(emitter.call("const float *a, const float *b, float *y", f"add({constants}, a, b, y);", *given))]


def _add_backward(emitter: Emitter, operation: Operation, written: set[str], is_batch: bool) -> _Steps:
    return [
        step for source in operation.inputs for step in _copy_back(emitter, source, operation.output, written, is_batch)
    ]


def _move(body: str, emitter: Emitter, given: tuple[str, str]) -> Step:
    return Step(emitter.call("const float *x, float *y", body, *given))


def _cat_forward(emitter: Emitter, operation: Operation) -> _Steps:
    if operation.attributes["dim"] != 0:
        raise NativeUnavailable(f"{operation.describe()} joins along another axis than that of channels")
    to, start, steps = emitter.places[operation.output].value, 0, list[Step | Barrier]()
    for source in operation.inputs:
        x = emitter.places[source].value
        body = f"move_channels({x.constant}, {to.constant}, {x.channels}, x, y + {start}, 0);"
        steps.append(_move(body, emitter, (emitter.value(source), emitter.value(operation.output))))
        start += x.channels
    return steps


def _cat_backward(emitter: Emitter, operation: Operation, written: set[str], is_batch: bool) -> _Steps:
    dy, start, steps = emitter.places[operation.output].gradient, 0, list[Step | Barrier]()
    for source in operation.inputs:
        dx = emitter.places[source].gradient
        if not is_unread(source, is_batch):
            adds = adds_to(written, source)
            body = f"move_channels({dy.constant}, {dx.constant}, {dx.channels}, x + {start}, y, {adds});"
            steps.append(_move(body, emitter, (emitter.gradient(operation.output), emitter.gradient(source))))
        start += dx.channels
    return steps


def _flatten_forward(emitter: Emitter, operation: Operation) -> _Steps:
    source, result = operation.inputs[0], operation.output
    if len(emitter.graph.sites[result].shape) != 1:
        raise NativeUnavailable(f"{operation.describe()} makes {list(emitter.graph.sites[result].shape)}, no vector")
    x = emitter.places[source].value
    body = f"flatten({x.constant}, {x.channels}, x, y);"
    return [_move(body, emitter, (emitter.value(source), emitter.value(result)))]


def _flatten_backward(emitter: Emitter, operation: Operation, written: set[str], is_batch: bool) -> _Steps:
    source, result = operation.inputs[0], operation.output
    if is_unread(source, is_batch):
        return []
    dx = emitter.places[source].gradient
    body = f"flatten_back({dx.constant}, {dx.channels}, y, x, {adds_to(written, source)});"
    return [_move(body, emitter, (emitter.gradient(result), emitter.gradient(source)))]


def _window(emitter: Emitter, operation: Operation) -> str:
    """The C code's ``window``; that of a mean over a map is the map."""
    settings = operation.attributes
    if operation.op in ("mean", "adaptive_avg_pool2d"):
        source = emitter.graph.sites[operation.inputs[0]].shape
        is_global = settings.get("dim", (1, 2)) == (1, 2) and settings.get("output_size", (1, 1)) == (1, 1)
        if len(source) != 3 or not is_global:
            raise NativeUnavailable(f"{operation.describe()} is no mean over a whole map")
        return f"(window){{{source[1]}, {source[2]}, 1, 1, 0, 0, 0, 1}}"
    if settings["ceil_mode"] or settings.get("dilation", (1, 1)) != (1, 1):
        raise NativeUnavailable(f"{operation.describe()} has a ceil_mode or a dilation")
    numbers = (*settings["kernel_size"], *settings["stride"], *settings["padding"][:2])
    is_max = int(operation.op == "max_pool2d")
    return f"(window){{{', '.join(map(str, numbers))}, {is_max}, {int(settings.get('count_include_pad', False))}}}"


def _pool_forward(emitter: Emitter, operation: Operation) -> _Steps:
    source, result = operation.inputs[0], operation.output
    x, y = emitter.places[source].value, emitter.places[result].value
    body = f"pool({_window(emitter, operation)}, {x.constant}, {y.constant}, x, y);"
    return [_move(body, emitter, (emitter.value(source), emitter.value(result)))]


def _pool_backward(emitter: Emitter, operation: Operation, written: set[str], is_batch: bool) -> _Steps:
    source, result = operation.inputs[0], operation.output
    if is_unread(source, is_batch):
        return []
    places = (emitter.places[source], emitter.places[result])
    constants = [*(place.value.constant for place in places), *(place.gradient.constant for place in places)]
    adds = adds_to(written, source)
    body = f"pool_back({_window(emitter, operation)}, {', '.join(constants)}, x, y, dx, dy, {adds});"
    is_max = operation.op == "max_pool2d"
    values = [emitter.value(site) if is_max else "NULL" for site in (source, result)]
    given = (*values, emitter.gradient(source), emitter.gradient(result))
    return [Step(emitter.call("const float *x, const float *y, float *dx, const float *dy", body, *given))]


_ACTIVATION = StepKind(_activate, _activate_back)
_POOL = StepKind(_pool_forward, _pool_backward)
_FLATTEN = StepKind(_flatten_forward, _flatten_backward)

UNWEIGHTED: dict[str, StepKind] = {
    **dict.fromkeys(ACTIVATIONS, _ACTIVATION),
    "add": StepKind(_add_forward, _add_backward),
    "cat": StepKind(_cat_forward, _cat_backward),
    "flatten": _FLATTEN,
    "reshape": _FLATTEN,
    "max_pool2d": _POOL,
    "avg_pool2d": _POOL,
    "mean": _POOL,
    "adaptive_avg_pool2d": _POOL,
}
"""Operation → its steps."""

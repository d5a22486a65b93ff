"""A graph in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zoovet.printable import printable

if TYPE_CHECKING:
    from zoovet.networks.graph import Graph, Operation

__all__ = ["describe"]

_MOST_IN_A_LINE = 24
_NAME = 32


def describe(graph: Graph) -> str:
    """One line where few operations follow one another, else a table with a line for each."""
    previous = ("input", *(operation.output for operation in graph.operations))
    is_chain = all(operation.inputs == (name,) for operation, name in zip(graph.operations, previous, strict=False))
    if is_chain and len(graph.operations) <= _MOST_IN_A_LINE and graph.output == previous[-1]:
        return " → ".join((_sizes(graph.input_shape), *(_words(graph, one) for one in graph.operations)))
    return _table(graph)


def _words(graph: Graph, operation: Operation) -> str:
    """``conv2d 16 3×3 /2``: the operation, what it makes, and what is not as usual."""
    words = [operation.op]
    attributes: dict[str, Any] = dict(operation.attributes)
    weight = graph.shapes[operation.parameters["weight"]] if "weight" in operation.parameters else ()
    if operation.op in ("conv2d", "linear"):
        words.append(str(weight[0]))
    if operation.op == "conv2d":
        words.append(_sizes(weight[2:]))
    if "kernel_size" in attributes:
        words.append(_sizes(attributes.pop("kernel_size")))
    if "stride" in attributes:
        stride = attributes.pop("stride")
        if stride != (1, 1):
            words.append(f"/{stride[0]}" if stride[0] == stride[1] else f"/{stride[0]},{stride[1]}")
    defaults = {name: attribute.default for name, attribute in operation.kind.attributes.items()}
    hidden = ("eps", "normalized_shape")
    for name, value in attributes.items():
        if value != defaults[name] and name not in hidden and not (name == "padding" and operation.op == "conv2d"):
            words.append(f"{name.replace('_', ' ')} {_value(value)}")
    return " ".join(words)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"


def _table(graph: Graph) -> str:
    scaling = "unknown input scaling" if graph.input_scaling is None else f"reads {graph.input_scaling.describe()}"
    lines = [
        f"{_sizes(graph.input_shape)} → {_sizes(graph.output_shape)}, {len(graph.operations)} operations, "
        f"{graph.num_parameters:,} numbers, {scaling}"
    ]
    rows = [("site", "made by", "from", "shape", "numbers")]
    for operation in graph.operations:
        numbers = sum(math.prod(graph.shapes[name]) for name in operation.parameters.values())
        sources = ", ".join(printable(name, _NAME) for name in operation.inputs[:4])
        if len(operation.inputs) > 4:
            sources += ", …"
        output = printable(operation.output, _NAME)
        shape = _sizes(graph.sites[operation.output].shape)
        rows.append((output, _words(graph, operation), sources, shape, f"{numbers:,}" if numbers else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)

"""First operations that scale the input, taken off a graph: they become its input scaling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import INPUT, Graph, Operation
from zoovet.networks.scaling import InputScaling

__all__ = ["take_first_operations"]

_BYTES, _LARGEST_OF_UNIT, _SMALLEST_OF_BYTES = 255.0, 2.0, 16.0
_SIMPLE = ("add_scalar", "mul_scalar")
_BINARY = ("add", "sub", "mul", "div")


def take_first_operations(networks: Networks, given: InputScaling | None = None) -> tuple[Networks, str | None]:
    """A network without the operations at its input that multiply each channel by a number and add one.

    Where nobody says what the whole network reads, mean and deviation that follow from these are for pixels of 0 to 255
    where one is above 16, and for pixels of 0 to 1 where none is above 2. Between these, as where images are brought
    from one scaling to another, it stays open.

    Args:
        networks: One network (B = 1).
        given: What the whole network, its first operations too, reads for pixels; ``None`` where nobody knows it.

    Returns:
        The network that reads scaled images, its graph with their input scaling, and a note that says so; the network
        itself and ``None`` where its first operations are none of these.

    Raises:
        ZoovetError: What is given is for another number of channels.
    """
    found = _first_operations(networks)
    scaling = None if found is None else _scaling(found.gain, found.offset, given)
    if found is None or scaling is None:
        return networks, None
    graph = replace(_without(networks.graph, found), input_scaling=scaling[0])
    kept = {name: networks.parameters[name] for name in graph.shapes}
    what = f"with pixels of 0 to {scaling[1]:g}" if given is None else f"that were scaled to {given.describe()}"
    note = f"its first operations scale images {what}: they are read as the input scaling {scaling[0].describe()}"
    return Networks(graph, kept), note


@dataclass
class _Chain:
    """What the operations at the input do.

    Attributes:
        gain, offset: float64 [channels].
        site: What the last of them makes.
        order: How axes were permuted.
        outputs: The sites that they make.
    """

    gain: Tensor
    offset: Tensor
    site: str
    order: tuple[int, ...]
    outputs: set[str]


def _first_operations(networks: Networks) -> _Chain | None:
    graph, rank = networks.graph, len(networks.graph.input_shape)
    channels = graph.input_shape[0] if rank == 3 else 1
    ones = torch.ones(channels, dtype=torch.float64)
    chain = _Chain(ones, ones * 0, INPUT, tuple(range(rank)), set())
    best: _Chain | None = None
    while len(graph.readers[chain.site]) == 1 and chain.site != graph.output:
        step = _next(networks, graph.readers[chain.site][0], chain)
        if step is None:
            break
        is_permutation = step.order != chain.order
        chain = step
        best = best if is_permutation and best is None else chain
    return best


def _next(networks: Networks, operation: Operation, chain: _Chain) -> _Chain | None:
    gain, offset, order = chain.gain, chain.offset, chain.order
    if operation.op == "permute":
        order = tuple(order[axis] for axis in operation.attributes["dims"])
    elif operation.op in _SIMPLE:
        number = operation.attributes["scalar"]
        gain, offset = (gain, offset + number) if operation.op == "add_scalar" else (gain * number, offset * number)
    elif operation.op in _BINARY:
        first, second = operation.inputs
        numbers = _numbers(networks, second if first == chain.site else first, chain)
        if numbers is None or (second == chain.site and operation.op == "div"):
            return None
        match operation.op:
            case "add":
                offset = offset + numbers
            case "mul":
                gain, offset = gain * numbers, offset * numbers
            case "div":
                gain, offset = gain / numbers, offset / numbers
            case _ if first == chain.site:
                offset = offset - numbers
            case _:
                gain, offset = -gain, numbers - offset
    else:
        return None
    return _Chain(gain, offset, operation.output, order, {*chain.outputs, operation.output})


def _numbers(networks: Networks, site: str, chain: _Chain) -> Tensor | None:
    """A number for each channel from a site that holds a constant; ``None`` where it has others, or is none."""
    graph = networks.graph
    shape, maker = graph.sites[site].shape, graph.makers.get(site)
    while maker is not None and maker.op == "reshape":
        maker = graph.makers.get(maker.inputs[0])
    if maker is None or maker.op != "parameter":
        return None
    axis = chain.order.index(0)
    if len(shape) != len(chain.order) or any(size != 1 for place, size in enumerate(shape) if place != axis):
        return None
    numbers = networks.parameters[maker.parameters["value"]][0].double().reshape(-1)
    return numbers if len(numbers) in (1, len(chain.gain)) and bool(torch.isfinite(numbers).all()) else None


def _scaling(gain: Tensor, offset: Tensor, given: InputScaling | None) -> tuple[InputScaling, float] | None:
    """The scaling, and what pixels go up to before it."""
    if not bool((gain > 0).all()) or (bool((gain == 1).all()) and not bool(offset.any())):
        return None
    if given is not None:
        before, shift = (gain.new_tensor(each) for each in given.affine(len(gain)))
        gain, offset = gain * before, gain * shift + offset
    mean, deviation = -offset / gain, 1 / gain
    largest, top = float(torch.cat([mean, deviation]).abs().max()), 1.0
    if given is None and largest > _LARGEST_OF_UNIT:
        if largest < _SMALLEST_OF_BYTES:
            return None
        top = _BYTES
    try:
        return InputScaling(mean=_tuple(mean / top), deviation=_tuple(deviation / top)), top
    except ZoovetError:
        return None


def _tuple(numbers: Tensor) -> tuple[float, ...]:
    """Seven digits, what float32 has; one number where all are the same."""
    rounded = tuple(float(f"{number:.7g}") + 0.0 for number in numbers.tolist())
    return rounded[:1] if len(set(rounded)) == 1 else rounded


def _without(graph: Graph, chain: _Chain) -> Graph:
    """The graph without a chain of operations; what permuted axes stays."""
    operations = []
    keeps_order = chain.order != tuple(range(len(chain.order)))
    if keeps_order:
        operations.append(Operation(op="permute", inputs=(INPUT,), output=chain.site, attributes={"dims": chain.order}))
    for operation in graph.operations:
        if operation.output not in chain.outputs:
            inputs = tuple(INPUT if name == chain.site and not keeps_order else name for name in operation.inputs)
            operations.append(replace(operation, inputs=inputs))
    return _needed(replace(graph, operations=tuple(operations), input_scaling=None))


def _needed(graph: Graph) -> Graph:
    """The graph without operations that its output does not need, and their parameters."""
    sites, kept = {graph.output}, []
    for operation in reversed(graph.operations):
        if operation.output in sites:
            sites.update(operation.inputs)
            kept.append(operation)
    read = {name for operation in kept for name in operation.parameters.values()}
    parameters = tuple(one for one in graph.parameters if one.name in read)
    return replace(graph, operations=tuple(reversed(kept)), parameters=parameters)

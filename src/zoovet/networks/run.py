"""The interpreter: run B networks of one graph on images at once, whatever the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.batch import Networks
from zoovet.networks.frozen_mapping import FrozenMapping
from zoovet.networks.graph import Graph
from zoovet.networks.operations import INPUT, Operation
from zoovet.networks.ops import OperationKind, Site
from zoovet.networks.rescaled import images_as_read
from zoovet.networks.values import Values
from zoovet.printable import printable

__all__ = ["run", "run_changed", "values_at"]

_TILE_BYTES = 2 * 2**20
_TILE_IMAGES = 1024
_CUDA_TILE_BYTES = 256 * 2**20
_NO_CHANGES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({})
_NO_PARAMETERS: Mapping[str, Tensor] = MappingProxyType({})


def run(networks: Networks, images: Tensor, *, chunk_size: int | None = None) -> Tensor:
    """What B networks answer on N images: their graph's output, logits as a rule.

    Differentiable to the weights and to the images. Some networks on some images are run at a time, so that what lies
    between their operations stays in the cache, or on a GPU so many that they fill it: without gradients, memory does
    not grow with B and N but for the answers.

    Args:
        networks: B networks of one graph, float32 or float64, on any device.
        images: [N, *input_shape] for all networks, or [B, N, *input_shape], each network its own; dtype and
            device of the networks.
        chunk_size: Images at a time; chosen by the size of the sites where left out.

    Returns:
        [B, N, *output_shape]: [B, N, classes].

    Raises:
        ZoovetError: Images do not fit the networks (the message names both shapes, dtypes or devices), there are no
            networks, or ``chunk_size`` is below 1.
    """
    return _in_tiles(networks, images, (networks.graph.output,), chunk_size)[0]


def values_at(
    networks: Networks,
    images: Tensor,
    sites: Sequence[str],
    *,
    chunk_size: int | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """What chosen sites hold; only what they need is run.

    Args:
        networks: As in :func:`run`.
        images: As in :func:`run`.
        sites: Names of sites of the graph.
        chunk_size: As in :func:`run`.
        reduce: What is kept of each site, [b, n, *shape] to [b, n, …] for any networks and images at a time; all of it
            where left out.

    Returns:
        Name → [B, N, *shape of the site], or what ``reduce`` makes of it.

    Raises:
        ZoovetError: As in :func:`run`, or the graph has no such site.
    """
    for name in sites:
        if name not in networks.graph.sites:
            hint = printable(nearest(name, networks.graph.sites))
            raise ZoovetError(f"the graph has no site '{printable(name)}'{hint}")
    wanted = tuple(dict.fromkeys(sites))
    return dict(zip(wanted, _in_tiles(networks, images, wanted, chunk_size, reduce), strict=True))


def run_changed(networks: Networks, images: Tensor, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Tensor:
    """What B networks answer where some sites are changed on the way, as by dropout; all are run at once.

    Args:
        networks: As in :func:`run`.
        images: As in :func:`run`.
        changes: Name of a site → what makes of its values [B, N, *shape] those, of the same shape, that are read there.

    Returns:
        As :func:`run`.

    Raises:
        ZoovetError: As in :func:`run`.
    """
    graph = networks.graph
    shared = _check_images(networks, images)
    wanted = (graph.output, *changes)  # so that nothing overwrites what was changed
    return _run(graph, _plan(graph, wanted).steps, networks.parameters, images, shared, wanted, changes)[0]


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation of a plan: sites and parameters by name, and which sites nobody reads after it.

    ``compute`` is the operation on one network's tensors, in place of its input where nobody else reads that.
    ``factor`` multiplies the parameters: a sine's frequency, which costs less there than on all values.
    ``is_per_channel`` is whether the operation, with its attributes, treats the first axis' channels each alone.
    """

    kind: OperationKind
    compute: Callable[[Mapping[str, Any], Sequence[Tensor], Mapping[str, Tensor]], Tensor]
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    output: str
    parameters: tuple[tuple[str, str], ...]
    freed: tuple[str, ...]
    factor: float = 1.0
    is_per_channel: bool = False

    def own(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters that it reads, by role."""
        if self.factor == 1:
            return {role: parameters[name] for role, name in self.parameters}
        return {role: self.factor * parameters[name] for role, name in self.parameters}


@dataclass(frozen=True, slots=True)
class _Plan:
    """The steps that make the wanted sites, and the numbers of the largest site on the way for one image."""

    steps: tuple[_Step, ...]
    largest: int


def _plan(graph: Graph, wanted: tuple[str, ...]) -> _Plan:
    """The plan for the wanted sites, made once for each graph."""
    plan: _Plan | None = graph.derived.get(wanted)
    if plan is None:
        steps = _steps(graph, wanted)
        largest = max([graph.sites[step.output].num_numbers for step in steps], default=1)
        plan = graph.derived[wanted] = _Plan(steps, largest)
    return plan


def _steps(graph: Graph, wanted: tuple[str, ...]) -> tuple[_Step, ...]:
    """The operations that the wanted sites need, in order."""
    needed = set(wanted)
    kept = []
    for operation in reversed(graph.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
            kept.append(operation)
    seen = set(wanted)
    steps = []
    factors: dict[str, float] = {}
    for operation in kept:  # the last one first
        freed = tuple(name for name in dict.fromkeys(operation.inputs) if name not in seen)
        seen.update(operation.inputs)
        maker = _only_for(graph, operation, wanted)
        attributes = operation.attributes
        if operation.op == "sin" and maker is not None and maker.op in ("conv2d", "linear"):
            factors[maker.output] = attributes["frequency"]
            attributes = FrozenMapping({"frequency": 1.0})
        kind = operation.kind
        may_overwrite = maker is not None and maker.kind.makes_fresh
        steps.append(
            _Step(
                kind=kind,
                compute=kind.overwrite if kind.overwrite and may_overwrite else kind.plain,
                attributes=attributes,
                inputs=operation.inputs,
                output=operation.output,
                parameters=tuple(operation.parameters.items()),
                freed=freed,
                factor=factors.get(operation.output, 1.0),
                is_per_channel=kind.is_per_channel_with(attributes),
            )
        )
    return tuple(reversed(steps))


def _only_for(graph: Graph, operation: Operation, wanted: tuple[str, ...]) -> Operation | None:
    """What makes the only input of an operation, where nobody else reads that."""
    if len(operation.inputs) != 1 or operation.inputs[0] in wanted or len(graph.readers[operation.inputs[0]]) != 1:
        return None
    return graph.makers.get(operation.inputs[0])


def _in_tiles(
    networks: Networks,
    images: Tensor,
    wanted: tuple[str, ...],
    chunk_size: int | None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """The wanted sites' values, each [B, N, …]; some networks run on some images at a time."""
    shared = _check_images(networks, images)
    axis = 0 if shared else 1
    plan = _plan(networks.graph, wanted)
    num_networks, num_images = _tile(networks.graph, plan.largest, images.shape[axis], images)
    if chunk_size is not None:
        if chunk_size < 1:
            raise ZoovetError(f"chunk_size must be at least 1, got {chunk_size}")
        num_images = chunk_size

    def values(parameters: Mapping[str, Tensor], some: Tensor) -> list[Tensor]:
        found = _run(networks.graph, plan.steps, parameters, some, shared, wanted)
        return found if reduce is None else list(map(reduce, found))

    if num_networks >= len(networks) and num_images >= images.shape[axis]:
        return values(networks.parameters, images)
    parts = {name: torch.split(tensor, num_networks) for name, tensor in networks.parameters.items()}
    rows = []
    for index in range(-(-len(networks) // num_networks)):
        some = {name: split[index] for name, split in parts.items()}
        theirs = images if shared else images[index * num_networks : (index + 1) * num_networks]
        chunks = [values(some, chunk) for chunk in torch.split(theirs, num_images, dim=axis)]
        rows.append([torch.cat(parts_of_one, dim=1) for parts_of_one in zip(*chunks, strict=True)])
    return [torch.cat(rows_of_one) for rows_of_one in zip(*rows, strict=True)]


def _check_images(networks: Networks, images: Tensor) -> bool:
    """Whether all networks share the images."""
    shape = networks.graph.input_shape
    num_networks = len(networks)
    if num_networks == 0:
        raise ZoovetError("there are no networks to run: the batch of networks is empty")
    theirs, num_axes = images.shape, len(shape)
    shared = len(theirs) == num_axes + 1
    own = len(theirs) == num_axes + 2 and theirs[0] == num_networks
    if not (shared or own) or theirs[-num_axes:] != shape:
        wanted = ", ".join(map(str, shape))
        raise ZoovetError(
            f"images must have the shape [N, {wanted}], or [{num_networks}, N, {wanted}] where each network has "
            f"its own, got {list(theirs)}"
        )
    first = next(iter(networks.parameters.values()))
    if images.dtype != first.dtype:
        raise ZoovetError(
            f"images are {images.dtype} and the networks {first.dtype}; convert one of them with .to(dtype=…)"
        )
    if images.device != first.device:
        raise ZoovetError(
            f"images are on {images.device} and the networks on {first.device}; move one of them with .to(device)"
        )
    return shared


def _tile(graph: Graph, numbers: int, num_images: int, like: Tensor) -> tuple[int, int]:
    """How many networks and images to run at a time, so that the largest site stays in the cache.

    A network with more weights than that runs on so many images that reading its weights costs no more than its sites.
    A GPU is to be filled instead. ``numbers`` are the largest site's; ``like`` says which, by its dtype and device.
    """
    num_bytes, most_images = (_CUDA_TILE_BYTES, num_images) if like.is_cuda else (_TILE_BYTES, _TILE_IMAGES)
    num_bytes = max(num_bytes, graph.num_parameters * like.element_size())
    num_pairs = max(1, num_bytes // (numbers * like.element_size()))
    images = max(1, min(num_images, num_pairs, most_images))
    num_chunks = max(1, -(-num_images // images))
    return num_pairs // images, -(-num_images // num_chunks)  # chunks of about one size


def _run(
    graph: Graph,
    steps: tuple[_Step, ...],
    parameters: Mapping[str, Tensor],
    images: Tensor,
    shared: bool,
    wanted: tuple[str, ...],
    changes: Mapping[str, Callable[[Tensor], Tensor]] = _NO_CHANGES,
) -> list[Tensor]:
    num_networks = len(next(iter(parameters.values())))
    images = images_as_read(graph, images)
    if num_networks == 1 and not changes:
        values = _run_one(
            steps, {name: tensor.squeeze(0) for name, tensor in parameters.items()}, images if shared else images[0]
        )
        results = [values[name].unsqueeze(0) for name in wanted]
    else:
        many = _run_many(graph.sites, steps, parameters, images, shared, num_networks, changes)
        results = [many[name].stacked(num_networks) for name in wanted]
    num_images = images.shape[0 if shared else 1]
    # What does not depend on the images was computed for one.
    return [
        result if result.shape[1] == num_images else result.expand(-1, num_images, *result.shape[2:])
        for result in results
    ]


def _run_one(steps: tuple[_Step, ...], parameters: Mapping[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """One network: every site [N, *shape], parameters as in the graph.

    A processor's convolutions are up to eight times as fast with the channels last in memory, and seldom slower.
    """
    if images.ndim == 4 and not images.is_cuda:
        images = images.contiguous(memory_format=torch.channels_last)
    sites = {INPUT: images}
    for step in steps:
        if len(step.inputs) == 1:
            inputs = [sites[step.inputs[0]]]
        else:
            inputs = [sites[name] for name in step.inputs]
            if inputs and not step.kind.broadcasts:
                inputs = _repeated(inputs)
        for name in step.freed:
            del sites[name]
        own = step.own(parameters) if step.parameters else _NO_PARAMETERS
        sites[step.output] = step.compute(step.attributes, inputs, own)
    return sites


def _repeated(inputs: list[Tensor]) -> list[Tensor]:
    """All for as many images: what does not depend on them is repeated."""
    most = max(len(tensor) for tensor in inputs) if all(map(len, inputs)) else 0
    return [tensor if len(tensor) == most else tensor.expand(most, *tensor.shape[1:]) for tensor in inputs]


def _run_many(
    sites: Mapping[str, Site],
    steps: tuple[_Step, ...],
    parameters: Mapping[str, Tensor],
    images: Tensor,
    shared: bool,
    num_networks: int,
    changes: Mapping[str, Callable[[Tensor], Tensor]],
) -> dict[str, Values]:
    """B networks: every site in one of the layouts of :mod:`zoovet.networks.values`."""
    values = {INPUT: Values(images, "shared" if shared else "stacked")}
    for step in steps:
        inputs = [values[name] for name in step.inputs]
        for name in step.freed:
            del values[name]
        if step.parameters:
            assert step.kind.many is not None
            values[step.output] = step.kind.many(step.attributes, inputs, step.own(parameters), num_networks)
        else:
            values[step.output] = _without_parameters(step, inputs, sites[step.output], num_networks)
        if step.output in changes:
            changed = changes[step.output](values[step.output].stacked(num_networks))
            values[step.output] = Values(changed, "stacked")
    return values


def _without_parameters(step: _Step, inputs: list[Values], site: Site, num_networks: int) -> Values:
    """Any operation on values of B networks: to it, B networks on N images are B · N images."""
    kind, compute = step.kind, step.compute
    if len(inputs) == 1:
        tensor, layout = inputs[0].tensor, inputs[0].layout
        if layout == "shared" or kind.is_elementwise or (step.is_per_channel and layout == "folded"):
            return Values(compute(step.attributes, [tensor], _NO_PARAMETERS), layout)
    layouts = {value.layout for value in inputs}
    if layouts == {"shared"} and not kind.broadcasts and len(inputs) > 1:
        return Values(compute(step.attributes, _repeated([value.tensor for value in inputs]), {}), "shared")
    if layouts == {"shared"} or (step.is_per_channel and layouts == {"folded"}):
        return Values(compute(step.attributes, [value.tensor for value in inputs], {}), inputs[0].layout)
    folds = "folded" in layouts and bool(site.shape)
    tensors = [value.rows(num_networks) if folds else value.stacked(num_networks) for value in inputs]
    if kind.broadcasts:
        result = compute(step.attributes, tensors, {})
    else:
        leading = torch.broadcast_shapes(*(tensor.shape[:2] for tensor in tensors))
        flat = [tensor.expand(*leading, *tensor.shape[2:]).flatten(0, 1) for tensor in tensors]
        result = compute(step.attributes, flat, {}).unflatten(0, leading)
    return Values(result.flatten(1, 2), "folded") if folds else Values(result, "stacked")

"""Directions in which clean images lie, layer by layer: a change of weights across them alters clean answers little.

What a layer reads for clean images fills few directions, and what a trigger adds lies beside them. So a change of a
layer's weights is made through a map that shrinks it along the directions in which clean inputs are large, and leaves
it as it is along the others.

Sources of the idea: Zeng et al. 2019, *Continual learning of context-dependent processing* (orthogonal weights
modification); Meng et al. 2022, *Locating and editing factual associations* (edits that usual inputs feel least).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.evidence import RunnableGraphs
from zoovet.networks import Networks
from zoovet.networks.operations import Operation
from zoovet.networks.ops.windows import pad_map

__all__ = ["Directions", "clean_directions", "graph_moments", "module_moments"]

_NUM_AT_ONCE, _MOST_WINDOWS, _MOST_NUMBERS = 16, 4096, 1024
"""Images that are run at once, and the windows of these that moments are taken over; numbers of a window beyond which
its pixels are not told apart."""


@dataclass(frozen=True, eq=False)
class Directions:
    """How a weight is changed.

    Attributes:
        maps: [groups, d, d], symmetric: what the numbers with which a group's outputs multiply a window, or each of its
            pixels, are multiplied with.
    """

    maps: Tensor

    def change(self, coordinates: Tensor) -> Tensor:
        """The weight's change, of coordinates of its shape [out, in, …]; differentiable."""
        groups, size = self.maps.shape[:2]
        rows = coordinates.reshape(groups, -1, size, coordinates[0].numel() // size)
        return torch.einsum("gock,gcd->godk", rows, self.maps).reshape(coordinates.shape)


def clean_directions(moments: Mapping[str, Tensor], ridge: float) -> dict[str, Directions]:
    """Maps that shrink changes along what is read.

    Args:
        moments: Of :func:`graph_moments` or :func:`module_moments`.
        ridge: A direction's moment, as a share of the mean one, whose changes shrink to 0.7 of themselves.
    """
    found = {}
    for name, moment in moments.items():
        values, vectors = torch.linalg.eigh(moment.double())
        values = values.clamp_min(0)
        least = ridge * values.mean(1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        shares = (least / (values + least)).sqrt()
        found[name] = Directions((vectors * shares[:, None]).matmul(vectors.mT).to(moment))
    return found


def graph_moments(network: RunnableGraphs, images: Tensor) -> dict[str, Tensor]:
    """Second moments of what convolutions and linear operations of a graph multiply with their weights.

    Args:
        network: A single one (B = 1).
        images: [N, C, H, W] in [-1, 1].

    Returns:
        Weight → [groups, d, d], d the numbers of a window in a group; of large windows the channels only.
    """
    found: dict[str, Tensor] = {}
    own, visitors = network.networks, dict[str, Callable[[Tensor], None]]()
    for site, readers in own.graph.readers.items():
        steps = [step for step in readers if step.op in ("conv2d", "linear") and step.inputs[0] == site]
        if steps:
            visitors[site] = partial(_visit, own, steps, found)
    for some in images.split(_NUM_AT_ONCE):
        network.visit(some, visitors)
    return found


def _visit(networks: Networks, steps: Sequence[Operation], found: dict[str, Tensor], read: Tensor) -> None:
    for step in steps:
        name = step.parameters["weight"]
        shape = networks.parameters[name].shape[2:]
        _add(found, name, _rows(read[0]) if step.op == "linear" else _windows(read[0], shape, **step.attributes))


def module_moments(module: nn.Module, run: Callable[[Tensor], object], images: Tensor) -> dict[str, Tensor]:
    """The same of a module's own convolutions and linear layers.

    Args:
        module: What is run.
        run: Runs it on images.
        images: [N, C, H, W] in [-1, 1].
    """
    found: dict[str, Tensor] = {}
    handles = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):

            def look(own: nn.Module, inputs: tuple[Tensor, ...], name: str = f"{name}.weight") -> None:
                columns = _module_columns(own, inputs[0])
                if columns is not None:
                    _add(found, name, columns)

            handles.append(part.register_forward_pre_hook(look))
    try:
        with torch.no_grad():
            for some in images.split(_NUM_AT_ONCE):
                run(some)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _module_columns(part: nn.Module, read: Tensor) -> Tensor | None:
    if isinstance(part, nn.Linear):
        return _rows(read)
    assert isinstance(part, nn.Conv2d)
    if isinstance(part.padding, str) or part.padding_mode != "zeros":
        return None
    down, right = part.padding
    return _windows(
        read,
        part.weight.shape[1:],
        groups=part.groups,
        padding=(down, right, down, right),
        stride=part.stride,
        dilation=part.dilation,
    )


def _add(found: dict[str, Tensor], name: str, columns: Tensor) -> None:
    some = columns[..., :: -(-columns.shape[2] // _MOST_WINDOWS)]
    moment = some.matmul(some.mT)
    found[name] = found[name] + moment if name in found else moment


def _rows(read: Tensor) -> Tensor:
    """What a linear operation reads, [1, features, rows]."""
    return read.flatten(0, -2).T.unsqueeze(0)


def _windows(
    read: Tensor,
    shape: torch.Size,
    *,
    groups: int,
    padding: tuple[int, int, int, int],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """What a convolution with weights [out, *shape] reads: [groups, d, windows]."""
    flat = functional.unfold(pad_map(read, padding), tuple(shape[1:]), dilation=dilation, stride=stride)
    grouped: Tensor = flat.unflatten(1, (groups, shape[0], -1)).transpose(0, 1)  # [groups, N, in, pixels, places]
    is_large = shape[0] * grouped.shape[3] > _MOST_NUMBERS
    numbers = grouped.transpose(1, 2) if is_large else grouped.flatten(2, 3).transpose(1, 2)
    return numbers.flatten(2)

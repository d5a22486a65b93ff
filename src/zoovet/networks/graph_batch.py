"""The weights of B networks of one graph, as named tensors with a leading batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.graph import Graph
from zoovet.printable import printable

__all__ = ["GraphNetworks"]


@dataclass(frozen=True, eq=False)
class GraphNetworks:
    """B networks of one graph.

    Attributes:
        graph: What all of them are.
        parameters: Name → [B, *shape], one for each of the graph's parameters and in their order.

    All tensors share dtype and device; gradients flow through every method.

    Raises:
        ZoovetError: A tensor is missing, too many, or does not fit the graph, or they have several dtypes or devices;
            the message names it and both.
    """

    graph: Graph
    parameters: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        shapes = self.graph.shapes
        if not shapes:
            raise ZoovetError("the graph has no parameters, so there are no weights of networks")
        for name in self.parameters:
            if name not in shapes:
                raise ZoovetError(f"the graph has no parameter '{printable(name)}'{printable(nearest(name, shapes))}")
        for name in shapes:
            if name not in self.parameters:
                raise ZoovetError(f"the parameter '{printable(name)}' {list(shapes[name])} is missing")
        tensors = {name: self.parameters[name] for name in shapes}
        object.__setattr__(self, "parameters", MappingProxyType(tensors))
        first = next(iter(tensors))
        size = self._first.shape[0] if self._first.ndim else 0
        for name, tensor in tensors.items():
            if tuple(tensor.shape) != (size, *shapes[name]):
                raise ZoovetError(
                    f"'{printable(name)}' must have the shape {[size, *shapes[name]]} (networks, then the graph's), "
                    f"got {list(tensor.shape)}"
                )
            if tensor.dtype != self.dtype or tensor.device != self.device:
                raise ZoovetError(
                    f"all tensors must have one dtype and device: '{printable(first)}' is {self.dtype} on "
                    f"{self.device}, '{printable(name)}' {tensor.dtype} on {tensor.device}"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphNetworks, (self.graph, dict(self.parameters))

    @classmethod
    def one(cls, graph: Graph, parameters: Mapping[str, Tensor]) -> GraphNetworks:
        """One network (B = 1) from tensors of the graph's own shapes."""
        return cls(graph, {name: tensor.unsqueeze(0) for name, tensor in parameters.items()})

    @classmethod
    def from_flat(cls, graph: Graph, flat: Tensor) -> GraphNetworks:
        """Networks from flat vectors.

        Args:
            graph: What they are.
            flat: [B, graph.num_parameters], parameter by parameter in the graph's order, each row-major.

        Returns:
            Networks whose tensors are views of ``flat``.
        """
        if flat.ndim != 2 or flat.shape[1] != graph.num_parameters:
            raise ZoovetError(
                f"flat weights must have the shape [networks, {graph.num_parameters}], got {list(flat.shape)}"
            )
        parts = flat.split([math.prod(shape) for shape in graph.shapes.values()], dim=1)
        tensors = zip(graph.shapes.items(), parts, strict=True)
        return cls(graph, {name: part.view(-1, *shape) for (name, shape), part in tensors})

    def flat(self) -> Tensor:
        """Flat vectors [B, num_parameters], in the order that :meth:`from_flat` reads."""
        return torch.cat([tensor.flatten(1) for tensor in self.parameters.values()], dim=1)

    @classmethod
    def concatenate(cls, parts: Sequence[GraphNetworks]) -> GraphNetworks:
        """Networks of one graph after one another along the batch axis."""
        if not parts:
            raise ZoovetError("nothing to concatenate: no networks were given")
        graph = parts[0].graph
        if any(part.graph != graph for part in parts):
            raise ZoovetError("only networks of one graph can be concatenated; keep different graphs as a list")
        return cls(graph, {name: torch.cat([part.parameters[name] for part in parts]) for name in graph.shapes})

    def __len__(self) -> int:
        return self._first.shape[0]

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> GraphNetworks:
        """Some of the networks, always as a batch: an integer gives B = 1."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"network {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return self.map(lambda tensor: tensor[index])

    def __iter__(self) -> Iterator[GraphNetworks]:
        return (self[index] for index in range(len(self)))

    def map(self, function: Callable[[Tensor], Tensor]) -> GraphNetworks:
        """Apply ``function`` to every parameter; it must keep all axes but the first."""
        return GraphNetworks(self.graph, {name: function(tensor) for name, tensor in self.parameters.items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> GraphNetworks:
        """The same networks on another device or in another precision."""
        return self.map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def detach(self) -> GraphNetworks:
        """The same numbers without their history."""
        return self.map(torch.Tensor.detach)

    def __add__(self, change: GraphNetworks) -> GraphNetworks:
        """Weights plus a change of the same graph: how an edit is applied."""
        if not isinstance(change, GraphNetworks):
            return NotImplemented
        if change.graph != self.graph or len(change) != len(self):
            raise ZoovetError(
                f"a change must fit the networks it is added to: {len(self)} of graph {self.graph.graph_id}, "
                f"got {len(change)} of graph {change.graph.graph_id}"
            )
        return GraphNetworks(
            self.graph, {name: tensor + change.parameters[name] for name, tensor in self.parameters.items()}
        )

    def require_finite(self, source: str = "the networks") -> GraphNetworks:
        """Return the networks themselves.

        Raises:
            ZoovetError: A number is NaN or infinite; the message names ``source``, network and parameter.
        """
        for name, tensor in self.parameters.items():
            finite = torch.isfinite(tensor).flatten(1).all(dim=1)
            if not bool(finite.all()):
                network = int((~finite).nonzero()[0])
                raise ZoovetError(f"{source}: network {network} has NaN or infinite numbers in '{printable(name)}'")
        return self

    @property
    def _first(self) -> Tensor:
        return next(iter(self.parameters.values()))

    @property
    def dtype(self) -> torch.dtype:
        """Precision of all tensors."""
        return self._first.dtype

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self._first.device

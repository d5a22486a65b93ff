"""The weights of B networks of one graph, as named tensors with a leading batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.networks.chain import Chain
from zoovet.networks.graph import Graph
from zoovet.networks.scaling import InputScaling, scaling_preset
from zoovet.printable import printable

__all__ = ["Networks"]


@dataclass(frozen=True, eq=False)
class Networks:
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
        dtype, device = self.dtype, self.device
        for name, tensor in tensors.items():
            if tensor.shape != (size, *shapes[name]):
                raise ZoovetError(
                    f"'{printable(name)}' must have the shape {[size, *shapes[name]]} (networks, then the graph's), "
                    f"got {list(tensor.shape)}"
                )
            if tensor.dtype != dtype or tensor.device != device:
                raise ZoovetError(
                    f"all tensors must have one dtype and device: '{printable(first)}' is {dtype} on "
                    f"{device}, '{printable(name)}' {tensor.dtype} on {tensor.device}"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        return Networks, (self.graph, dict(self.parameters))

    @classmethod
    def one(cls, graph: Graph, parameters: Mapping[str, Tensor]) -> Networks:
        """One network (B = 1) from tensors of the graph's own shapes."""
        return cls(graph, {name: tensor.unsqueeze(0) for name, tensor in parameters.items()})

    @classmethod
    def from_layers(cls, graph: Graph, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Networks:
        """Networks of a chain from the weights and biases of its layers.

        Args:
            graph: A chain.
            weights: ``weights[k]`` is layer k's, [B, out, in, \\*kernel].
            biases: ``biases[k]`` is layer k's, [B, out].

        Returns:
            Networks whose tensors are these, or views of them.

        Raises:
            ZoovetError: The graph is no chain, the tensors do not fit its layers, or they have several dtypes or
                devices; the message names the layer and both.
        """
        chain, weights, biases = graph.chain, tuple(weights), tuple(biases)
        num_layers = len(chain.layers)
        if len(weights) != num_layers or len(biases) != num_layers:
            raise ZoovetError(
                f"the network has {num_layers} layers, got {len(weights)} weights and {len(biases)} biases"
            )
        size = weights[0].shape[0] if weights[0].ndim else 0
        named: dict[str, Tensor] = {}
        for kind, tensors, names, shapes in (
            ("weights", weights, chain.weights, chain.weight_shapes),
            ("biases", biases, chain.biases, chain.bias_shapes),
        ):
            for index, (name, tensor, shape) in enumerate(zip(names, tensors, shapes, strict=True)):
                if tensor.shape != (size, *shape):
                    raise ZoovetError(
                        f"{kind}[{index}] must have the shape {(size, *shape)} (networks, then the layer's), "
                        f"got {tuple(tensor.shape)}"
                    )
                named[name] = tensor.flatten(2) if tensor.shape[1:] != graph.shapes[name] else tensor
        networks = cls(graph, named)
        networks.__dict__.update(weights=weights, biases=biases)
        return networks

    @classmethod
    def from_flat(cls, graph: Graph, flat: Tensor) -> Networks:
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
    def concatenate(cls, parts: Sequence[Networks]) -> Networks:
        """Networks of one graph after one another along the batch axis."""
        if not parts:
            raise ZoovetError("nothing to concatenate: no networks were given")
        graph = parts[0].graph
        if any(part.graph != graph for part in parts):
            raise ZoovetError(
                "only networks of one graph can be concatenated; keep different ones as a list of Networks"
            )
        if any(part.graph.input_scaling != graph.input_scaling for part in parts):
            raise ZoovetError(
                "only networks of one input scaling can be concatenated; keep different ones as a list of Networks"
            )
        return cls(graph, {name: torch.cat([part.parameters[name] for part in parts]) for name in graph.shapes})

    def __len__(self) -> int:
        return self._first.shape[0]

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Networks:
        """Some of the networks, always as a batch: an integer gives B = 1."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"network {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        return self.map(lambda tensor: tensor[index])

    def __iter__(self) -> Iterator[Networks]:
        return (self[index] for index in range(len(self)))

    def map(self, function: Callable[[Tensor], Tensor]) -> Networks:
        """Apply ``function`` to every parameter; it must keep all axes but the first."""
        return Networks(self.graph, {name: function(tensor) for name, tensor in self.parameters.items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Networks:
        """The same networks on another device or in another precision."""
        return self.map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def with_scaling(self, scaling: InputScaling | str | None) -> Networks:
        """The same weights, said to read pixels in a scaling, given itself or by name; ``None``: it is not known."""
        known = None if scaling is None else scaling_preset(scaling)
        return Networks(self.graph.reading(known, self.graph.input_map), self.parameters)

    def detach(self) -> Networks:
        """The same numbers without their history."""
        return self.map(torch.Tensor.detach)

    def __add__(self, change: Networks) -> Networks:
        """Weights plus a change of the same graph: how an edit is applied."""
        if not isinstance(change, Networks):
            return NotImplemented
        if change.graph != self.graph or len(change) != len(self):
            raise ZoovetError(
                f"a change must fit the networks it is added to: {len(self)} of {self.graph.in_words()}, "
                f"got {len(change)} of {change.graph.in_words()}"
            )
        return Networks(
            self.graph, {name: tensor + change.parameters[name] for name, tensor in self.parameters.items()}
        )

    def require_finite(self, source: str = "the networks") -> Networks:
        """Return the networks themselves.

        Raises:
            ZoovetError: A number is NaN or infinite; the message names ``source``, network, and layer or parameter.
        """
        for name, tensor in self.parameters.items():
            finite = torch.isfinite(tensor).flatten(1).all(dim=1)
            if not bool(finite.all()):
                network = int((~finite).nonzero()[0])
                raise ZoovetError(f"{source}: network {network} has NaN or infinite {self._in_words(name)}")
        return self

    def _in_words(self, name: str) -> str:
        if self.graph.is_chain:
            for kind, names in (("weights", self.graph.chain.weights), ("biases", self.graph.chain.biases)):
                if name in names:
                    return f"{kind} in layer {names.index(name)}"
        return f"numbers in '{printable(name)}'"

    @property
    def chain(self) -> Chain:
        """The layers of a chain.

        Raises:
            ZoovetError: The graph is no chain.
        """
        return self.graph.chain

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """A chain's weights by layer, each [B, out, in, \\*kernel].

        Raises:
            ZoovetError: The graph is no chain.
        """
        chain = self.graph.chain
        shapes = zip(chain.weights, chain.weight_shapes, strict=True)
        return tuple(
            tensor if tensor.shape[1:] == shape else tensor.unflatten(2, shape[1:])
            for tensor, shape in ((self.parameters[name], shape) for name, shape in shapes)
        )

    @cached_property
    def biases(self) -> tuple[Tensor, ...]:
        """A chain's biases by layer, each [B, out].

        Raises:
            ZoovetError: The graph is no chain.
        """
        return tuple(self.parameters[name] for name in self.graph.chain.biases)

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

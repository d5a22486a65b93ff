"""The weights of B networks of one spec, as tensors with a leading batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.scaling import InputScaling, scaling_preset
from zoovet.networks.spec import NetworkSpec

__all__ = ["Networks"]


@dataclass(frozen=True, eq=False)
class Networks:
    """B networks of one spec.

    Attributes:
        spec: What all of them are.
        weights: ``weights[k]`` is layer k's, [B, out, in, \\*kernel].
        biases: ``biases[k]`` is layer k's, [B, out].

    All tensors share dtype and device; gradients flow through every method.

    Raises:
        ZoovetError: The tensors do not fit the spec, or have several dtypes or devices; the message names the layer
            and both.
    """

    spec: NetworkSpec
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "biases", tuple(self.biases))
        num_layers = len(self.spec.layers)
        if len(self.weights) != num_layers or len(self.biases) != num_layers:
            raise ZoovetError(
                f"the spec has {num_layers} layers, got {len(self.weights)} weights and {len(self.biases)} biases"
            )
        size = self.weights[0].shape[0] if self.weights[0].ndim else 0
        for name, tensors, shapes in (
            ("weights", self.weights, self.spec.weight_shapes),
            ("biases", self.biases, self.spec.bias_shapes),
        ):
            for index, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
                if tuple(tensor.shape) != (size, *shape):
                    raise ZoovetError(
                        f"{name}[{index}] must have the shape {(size, *shape)} (networks, then the spec's), "
                        f"got {tuple(tensor.shape)}"
                    )
                if tensor.dtype != self.dtype or tensor.device != self.device:
                    raise ZoovetError(
                        f"all tensors must have one dtype and device: weights[0] is {self.dtype} on {self.device}, "
                        f"{name}[{index}] {tensor.dtype} on {tensor.device}"
                    )

    @classmethod
    def from_flat(cls, spec: NetworkSpec, flat: Tensor) -> Networks:
        """Networks from flat vectors.

        Args:
            spec: What they are.
            flat: [B, spec.num_parameters] in the order weight_0, bias_0, weight_1, …, each row-major.

        Returns:
            Networks whose tensors are views of ``flat``.
        """
        if flat.ndim != 2 or flat.shape[1] != spec.num_parameters:
            raise ZoovetError(
                f"flat weights must have the shape [networks, {spec.num_parameters}], got {list(flat.shape)}"
            )
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        position = 0
        for weight_shape, bias_shape in zip(spec.weight_shapes, spec.bias_shapes, strict=True):
            for shape, into in ((weight_shape, weights), (bias_shape, biases)):
                length = math.prod(shape)
                into.append(flat[:, position : position + length].view(-1, *shape))
                position += length
        return cls(spec, tuple(weights), tuple(biases))

    def flat(self) -> Tensor:
        """Flat vectors [B, num_parameters], in the order that :meth:`from_flat` reads."""
        parts = [tensor.flatten(1) for pair in zip(self.weights, self.biases, strict=True) for tensor in pair]
        return torch.cat(parts, dim=1)

    @classmethod
    def concatenate(cls, parts: Sequence[Networks]) -> Networks:
        """Networks of one spec after one another along the batch axis."""
        if not parts:
            raise ZoovetError("nothing to concatenate: no networks were given")
        if any(part.spec != parts[0].spec for part in parts):
            raise ZoovetError(
                "only networks of one spec can be concatenated; keep different specs as a list of Networks"
            )
        if any(part.spec.input_scaling != parts[0].spec.input_scaling for part in parts):
            raise ZoovetError(
                "only networks of one input scaling can be concatenated; keep different ones as a list of Networks"
            )
        return cls(
            parts[0].spec,
            tuple(torch.cat(tensors) for tensors in zip(*(part.weights for part in parts), strict=True)),
            tuple(torch.cat(tensors) for tensors in zip(*(part.biases for part in parts), strict=True)),
        )

    def __len__(self) -> int:
        return self.weights[0].shape[0]

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
        """Apply ``function`` to every weight and bias; it must keep all axes but the first."""
        return Networks(self.spec, tuple(map(function, self.weights)), tuple(map(function, self.biases)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Networks:
        """The same networks on another device or in another precision."""
        return self.map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def with_scaling(self, scaling: InputScaling | str | None) -> Networks:
        """The same weights, said to read pixels in a scaling, given itself or by name; ``None``: it is not known."""
        known = None if scaling is None else scaling_preset(scaling)
        return Networks(replace(self.spec, input_scaling=known), self.weights, self.biases)

    def detach(self) -> Networks:
        """The same numbers without their history."""
        return self.map(torch.Tensor.detach)

    def __add__(self, change: Networks) -> Networks:
        """Weights plus a change of the same spec: how an edit is applied."""
        if not isinstance(change, Networks):
            return NotImplemented
        if change.spec != self.spec or len(change) != len(self):
            raise ZoovetError(
                f"a change must fit the networks it is added to: {len(self)} of {self.spec.describe()}, "
                f"got {len(change)} of {change.spec.describe()}"
            )
        return Networks(
            self.spec,
            tuple(a + b for a, b in zip(self.weights, change.weights, strict=True)),
            tuple(a + b for a, b in zip(self.biases, change.biases, strict=True)),
        )

    def require_finite(self, source: str = "the networks") -> Networks:
        """Return the networks themselves.

        Raises:
            ZoovetError: A weight is NaN or infinite; the message names ``source``, network and layer.
        """
        for name, tensors in (("weights", self.weights), ("biases", self.biases)):
            for index, tensor in enumerate(tensors):
                finite = torch.isfinite(tensor).flatten(1).all(dim=1)
                if not bool(finite.all()):
                    network = int((~finite).nonzero()[0])
                    raise ZoovetError(f"{source}: network {network} has NaN or infinite {name} in layer {index}")
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Precision of all tensors."""
        return self.weights[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.weights[0].device

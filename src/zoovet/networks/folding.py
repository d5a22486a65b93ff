"""Folding batch norms away: into the layer that they follow, or to a factor and an offset for each channel."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.operations import Operation, Parameter

__all__ = ["fold_batch_norms"]


def fold_batch_norms(networks: Networks) -> Networks:
    """The same function without batch norms.

    A batch norm that is the only reader of a convolution's or linear layer's output is folded into its weights: the
    layer gets a bias where it had none. Any other, as where it stands before the convolution, becomes a
    ``channel_affine`` with a factor and an offset for each channel. Running statistics are gone then. Gradients flow.

    Args:
        networks: B networks of one graph.

    Returns:
        B networks of another graph, its parameters in the order in which operations read them; the folded batch norm's
        site is gone, and the layer's holds what it held.
    """
    return _Folder(networks).folded()


class _Folder:
    def __init__(self, networks: Networks) -> None:
        self._graph, self._dtype = networks.graph, networks.dtype
        self._tensors: dict[str, Tensor] = dict(networks.parameters)
        self._operations: dict[str, Operation] = {one.output: one for one in networks.graph.operations}
        self._uses = Counter(name for operation in networks.graph.operations for name in operation.parameters.values())
        self._renamed: dict[str, str] = {}

    def folded(self) -> Networks:
        for operation in self._graph.operations:
            if operation.op == "batch_norm":
                self._remove(operation)
        operations = tuple(self._reading_on(operation) for operation in self._operations.values())
        names = list(dict.fromkeys(name for operation in operations for name in operation.parameters.values()))
        constants = {parameter.name for parameter in self._graph.parameters if parameter.is_constant}
        parameters = tuple(
            Parameter(name=name, shape=tuple(self._tensors[name].shape[1:]), is_constant=name in constants)
            for name in names
        )
        output = self._renamed.get(self._graph.output, self._graph.output)
        graph = Graph(
            input_shape=self._graph.input_shape,
            parameters=parameters,
            operations=operations,
            output=output,
            input_scaling=self._graph.input_scaling,
            input_map=self._graph.input_map,
        )
        return Networks(graph, {name: self._tensors[name] for name in names})

    def _reading_on(self, operation: Operation) -> Operation:
        inputs = tuple(self._renamed.get(name, name) for name in operation.inputs)
        return operation if inputs == operation.inputs else _replaced(operation, inputs=inputs)

    def _remove(self, norm: Operation) -> None:
        scale, shift = self._scale_and_shift(norm)
        source = self._renamed.get(norm.inputs[0], norm.inputs[0])
        layer = self._operations.get(source)
        if layer is not None and self._takes(layer, norm):
            self._fold(layer, scale, shift)
            del self._operations[norm.output]
            self._renamed[norm.output] = layer.output
            return
        roles = {"weight": scale, "bias": shift}
        names = {}
        for role, tensor in roles.items():
            own = norm.parameters.get(role, "")
            names[role] = own if self._uses[own] == 1 else self._new_name(own or f"{norm.output}.{role}")
            self._tensors[names[role]] = tensor.to(self._dtype)
        self._operations[norm.output] = Operation(
            op="channel_affine", inputs=norm.inputs, output=norm.output, parameters=names
        )

    def _takes(self, layer: Operation, norm: Operation) -> bool:
        """Whether the norm's channels are the layer's outputs, and nobody else sees them or shares its weights.

        The layer holds the norms between the two already.
        """
        per_output = layer.op == "conv2d" or (layer.op == "linear" and len(self._graph.sites[layer.output].shape) == 1)
        return (
            per_output
            and len(self._graph.readers[norm.inputs[0]]) == 1
            and norm.inputs[0] != self._graph.output
            and all(self._uses[name] <= 1 for name in layer.parameters.values())  # 0: a bias that a norm brought
        )

    def _scale_and_shift(self, norm: Operation) -> tuple[Tensor, Tensor]:
        """[B, channels] each, in float64: what is folded is rounded once."""
        own = {role: self._tensors[name].double() for role, name in norm.parameters.items()}
        scale = torch.rsqrt(own["running_var"] + norm.attributes["eps"])
        if "weight" in own:
            scale = scale * own["weight"]
        shift = -own["running_mean"] * scale
        return scale, shift + own["bias"] if "bias" in own else shift

    def _fold(self, layer: Operation, scale: Tensor, shift: Tensor) -> None:
        weight = layer.parameters["weight"]
        tensor = self._tensors[weight]
        factor = scale.view(*scale.shape, *(1,) * (tensor.ndim - 2))
        self._tensors[weight] = (tensor * factor).to(self._dtype)
        if "bias" in layer.parameters:
            bias = layer.parameters["bias"]
            self._tensors[bias] = (self._tensors[bias] * scale + shift).to(self._dtype)
            return
        stem = weight.removesuffix("weight")
        bias = self._new_name(f"{stem}bias" if stem != weight else f"{layer.output}.bias")
        self._tensors[bias] = shift.to(self._dtype)
        self._operations[layer.output] = _replaced(layer, parameters={**layer.parameters, "bias": bias})

    def _new_name(self, name: str) -> str:
        unique, number = name, 1
        while unique in self._tensors:
            number += 1
            unique = f"{name}_{number}"
        return unique


def _replaced(
    operation: Operation, inputs: tuple[str, ...] | None = None, parameters: dict[str, str] | None = None
) -> Operation:
    return Operation(
        op=operation.op,
        inputs=operation.inputs if inputs is None else inputs,
        output=operation.output,
        parameters=operation.parameters if parameters is None else parameters,
        attributes=operation.attributes,
    )

"""Activations that the compiled trainer knows, and norms that become one step with the activation that reads them."""

from __future__ import annotations

from collections.abc import Mapping

from zoovet.networks import Graph, Operation
from zoovet.zoo.native.libraries import NativeUnavailable

__all__ = ["ACTIVATIONS", "activation_words", "fused_norms"]

ACTIVATIONS: Mapping[str, tuple[str, str]] = {
    "relu": ("RELU", ""),
    "relu6": ("RELU6", ""),
    "leaky_relu": ("LEAKY_RELU", "negative_slope"),
    "elu": ("ELU", "alpha"),
    "tanh": ("TANH", ""),
    "sigmoid": ("SIGMOID", ""),
    "silu": ("SILU", ""),
    "gelu": ("GELU", ""),
}
"""Operation → its name in C, and the setting that is its constant."""


def activation_words(operation: Operation) -> str:
    """An activation's first two arguments in C: its name and its constant.

    Raises:
        NativeUnavailable: It is approximated by tanh.
    """
    if operation.attributes.get("approximate", "none") != "none":
        raise NativeUnavailable(f"{operation.describe()} is approximated by tanh")
    name, constant = ACTIVATIONS[operation.op]
    return f"{name}, {float(operation.attributes[constant]) if constant else 0.0!r}f"


def fused_norms(graph: Graph) -> dict[str, str]:
    """Site of a batch norm → that of the activation that alone reads it: one step makes both, and keeps the second."""
    readers: dict[str, list[Operation]] = {}
    for operation in graph.operations:
        for site in operation.inputs:
            readers.setdefault(site, []).append(operation)
    fused = {}
    for operation in graph.operations:
        (reader, *others) = readers.get(operation.output) or [operation]
        is_norm = operation.op == "batch_norm" and operation.output != graph.output
        if is_norm and not others and reader.op in ACTIVATIONS:
            fused[operation.output] = reader.output
    return fused

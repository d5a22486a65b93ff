"""Answers of one number for each class, also where they are maps of one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zoovet.networks.batch import Networks
from zoovet.networks.operations import Operation

__all__ = ["answers_are_classes", "with_flat_answers"]


def answers_are_classes(shape: Sequence[int]) -> bool:
    """Whether what a network answers for an image is one number for each class: [classes], or [classes, 1, 1].

    Networks that end in a convolution and a mean over its map, as SqueezeNet and DenseNet in ONNX' model zoo, answer
    the latter.
    """
    return len(shape) > 0 and all(size == 1 for size in shape[1:])


def with_flat_answers(networks: Networks) -> Networks:
    """The same networks with answers [classes] for [classes, 1, 1]; others as they are."""
    graph = networks.graph
    if len(graph.output_shape) == 1 or not answers_are_classes(graph.output_shape):
        return networks
    name = "classes"
    while name in graph.sites:
        name += "_"
    flat = Operation(op="flatten", inputs=(graph.output,), output=name)
    return Networks(replace(graph, operations=(*graph.operations, flat), output=name), networks.parameters)

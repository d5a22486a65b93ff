"""Weight files whose network is told by an architecture or by reference images, whether a detector knows it or not."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zoovet.architectures import read_module
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import Graph, InputScaling, Networks, run
from zoovet.printable import printable
from zoovet.readers import FileContent, Reading, networks_from_content
from zoovet.readers.tensors import shape_in_words
from zoovet.vet.network import Network
from zoovet.vet.reading import network_from_content, with_found_scaling

__all__ = ["described", "reading_of_architecture", "with_scaling_of_images"]

_NUM_TRIED, _TOLERANCE = 4, 1e-3
_SCALING = "input scaling"


def reading_of_architecture(
    content: FileContent,
    source: str,
    specs: Sequence[Graph],
    *,
    architecture: str | None,
    scaling: InputScaling | None,
    images: Images | None,
    whose: str,
) -> Reading:
    """The network of a file as the one of some specs that computes what its architecture does.

    Args:
        content: What the file holds.
        source: The file, for messages.
        specs: What is known: that the network is one of these is seen by running both.
        architecture: See :func:`zoovet.vet.read`.
        scaling: See :func:`zoovet.vet.read`.
        images: See :func:`zoovet.vet.read`.
        whose: Who knows the specs, for messages: ``no shipped detector knows it``.

    Raises:
        ZoovetError: The file cannot be read so, or the network is of none of the specs; then the message says what it
            is, with its input scaling.
    """
    network = network_from_content(content, source, architecture, scaling, images)
    if content.graph is not None:
        content = _as_state_dict(network)
    for spec in specs:
        try:
            reading = networks_from_content(content, source, spec.architecture, scaling=network.scaling)
        except ZoovetError:
            continue
        if _same(reading.networks, network):
            return Reading(networks=reading.networks, notes=network.notes)
    raise ZoovetError(f"{source}: {network.describe()}; {_scaling_in_words(network)}: {whose}")


def _as_state_dict(network: Network) -> FileContent:
    """The weights of a network with a graph, under names that say in which order its layers run."""
    tensors = {}
    if network.networks is not None:
        layers = [operation for operation in network.networks.graph.operations if operation.parameters]
        for number, operation in enumerate(layers):
            for role, name in operation.parameters.items():
                tensors[f"layers.{number}.{role}"] = network.networks.parameters[name][0]
    return FileContent(tensors=tensors)


def described(content: FileContent, source: str) -> str | None:
    """What a file's network is by its names and shapes alone; ``None`` where they do not tell.

    Args:
        content: What the file holds.
        source: The file, for messages.
    """
    try:
        read_as = read_module(content, None, source)
    except ZoovetError:
        return None
    count = sum(tensor.numel() for tensor in read_as.module.parameters())
    return f"{printable(read_as.title)}, {count:,} parameters, reads {shape_in_words(read_as.input_shape)}"


def with_scaling_of_images(reading: Reading, images: Images | None, source: str) -> Reading:
    """The network of a file with the input scaling that is found on labelled images, where it says none itself.

    Args:
        reading: Of a file; one with several networks stays as it is.
        images: Reference images.
        source: The file, for messages.

    Raises:
        ZoovetError: The images do not fit the network.
    """
    networks = reading.networks
    if images is None or networks.graph.input_scaling is not None or len(networks) != 1:
        return reading
    network = Network(input_shape=networks.graph.input_shape, title=networks.graph.describe(), networks=networks)
    try:
        network = with_found_scaling(network, images)
    except ZoovetError as error:
        raise ZoovetError(f"{source}: {error}") from None
    notes = (*reading.notes, *network.notes)
    return Reading(networks=networks.with_scaling(network.scaling), notes=notes)


def _scaling_in_words(network: Network) -> str:
    said = [note for note in network.notes if note.startswith((f"{_SCALING} found", f"{_SCALING} not found"))]
    if said:
        return said[-1]
    return f"{_SCALING} not known" if network.scaling is None else f"{_SCALING} {network.scaling.describe()}"


def _same(networks: Networks, network: Network) -> bool:
    """Whether both answer the same on a few drawn images."""
    if network.networks is None or networks.graph.input_shape != network.input_shape:
        return False
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_NUM_TRIED, *network.input_shape, generator=generator, dtype=networks.dtype)
    first, second = run(networks, images)[0], run(network.networks, images.to(network.networks.dtype))[0]
    if first.shape != second.shape:
        return False
    return bool(((first - second).abs().max() <= _TOLERANCE * first.abs().max()).item())

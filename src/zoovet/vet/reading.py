"""From a file, or a module, to one network that can be run on images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.fetching.hints import hint_beside
from zoovet.images import Images
from zoovet.networks import InputScaling, fold_batch_norms, scaling_preset
from zoovet.networks.input_shape import require_input_shape
from zoovet.networks.output_shape import with_flat_answers
from zoovet.printable import printable, with_article
from zoovet.readers import FileContent, content_of_bytes, networks_from_content, read_content, says_its_graph
from zoovet.readers.network_file import GraphFile
from zoovet.readers.outputs import chosen_output
from zoovet.vet.found_architecture import read_open_module
from zoovet.vet.found_scaling import find_scaling, some_images
from zoovet.vet.network import ONE_NUMBER, Network, network_of_graph, network_of_module, with_chosen_output
from zoovet.vet.weights_digest import digest_of, weights_digest

__all__ = ["from_module", "network_from_content", "read", "with_found_scaling"]

_BYTES = "the file given as bytes"


def read(
    source: str | Path | bytes | bytearray | memoryview,
    architecture: str | None = None,
    scaling: InputScaling | str | None = None,
    images: Images | None = None,
    input_shape: tuple[int, ...] | None = None,
    output: int | None = None,
) -> Network:
    """Read one network from a weight file, or from an ONNX or Keras file. No code in the file is run.

    Args:
        source: The file, or what is in it.
        architecture: What the network is, where the file does not say it: ``vgg:activation=elu,pooling=max``,
            ``resnet20``, ``torchvision:resnet18``, or ``my_net.py:make``, whose code is run. Where left out, the
            ``config.json`` of timm or transformers beside the file tells, else names and shapes, if they do.
        scaling: What it reads for pixels, or its name in ``SCALING_PRESETS``, where the file does not say it.
        images: Reference images. Where nobody says the scaling and they have labels, it is found on them.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``, where the file leaves it open and
            there are no images, which tell it too.
        output: Which of several things that the network answers are its classes, from 0.

    Returns:
        The network, on the CPU. Its ``notes`` say what was found, taken or left out; its ``scaling`` is ``None`` where
        it stays unknown.

    Raises:
        ZoovetError: The file cannot be read or holds several networks, the weights do not fit the architecture, names
            and shapes leave something open, or the images do not fit the network. The message says what to give.
    """
    _require_kinds(source, architecture, images)
    if isinstance(source, bytes | bytearray | memoryview):
        content, shown = content_of_bytes(bytes(source), _BYTES), _BYTES
        return network_from_content(content, shown, architecture, scaling, images, input_shape, output)
    path = Path(source)
    hint = hint_beside(path) if architecture is None else None
    content, shown = read_content(path), printable(source)
    if hint is None:
        return network_from_content(content, shown, architecture, scaling, images, input_shape, output)
    shape = input_shape or (hint.input_shape if images is None else None)
    given = hint.scaling if scaling is None else scaling
    try:
        network = network_from_content(content, shown, hint.architecture, given, images, shape, output)
    except ZoovetError as error:
        raise ZoovetError("; ".join([str(error), *hint.notes])) from error
    return replace(network, notes=(*hint.notes, *network.notes))


def from_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    scaling: InputScaling | str | None = None,
    output: int | None = None,
) -> Network:
    """The network that a module of any class is.

    Args:
        module: Read as it computes in evaluation mode; its parameters are copied.
        input_shape: ``(channels, height, width)`` of an image, or ``(features,)``.
        scaling: What it reads for pixels, or its name in ``SCALING_PRESETS``; ``None`` where nobody knows. First
            operations that scale images tell it too; of a module with such, this is what goes into them.
        output: Which of several things that it answers are its classes, from 0.

    Raises:
        ZoovetError: It is no module, has no parameters, does not take such images, or is no classifier.
    """
    _require_module(module)
    given = None if scaling is None else scaling_preset(scaling)
    shape = require_input_shape(input_shape)
    title = type(module).__name__
    if output is None:
        return network_of_module(module, shape, title, scaling=given)
    chosen = network_of_module(with_chosen_output(module, output), shape, title, scaling=given)
    return replace(chosen, digest=weights_digest(module.state_dict()))


def _require_module(module: object) -> None:
    """Raise where it is something else, as the path of a file."""
    if not isinstance(module, nn.Module):
        hint = "; zoovet.read reads files" if isinstance(module, str | os.PathLike) else ""
        raise ZoovetError(f"from_module takes a torch.nn.Module, got {with_article(type(module).__name__)}{hint}")


def _require_kinds(source: object, architecture: object, images: object) -> None:
    """Raise where an argument is of another kind than :func:`read` takes."""
    if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        hint = "; zoovet.from_module takes modules" if isinstance(source, nn.Module) else ""
        raise ZoovetError(f"read takes a file's path or its bytes, got {with_article(type(source).__name__)}{hint}")
    if not isinstance(architecture, str | None):
        raise ZoovetError(
            f"architecture must be a name, as 'resnet20', got {with_article(type(architecture).__name__)}"
        )
    if not isinstance(images, Images | None):
        raise ZoovetError(f"images must be zoovet.Images, got {with_article(type(images).__name__)}")


def network_from_content(
    content: FileContent,
    source: str,
    architecture: str | None = None,
    scaling: InputScaling | str | None = None,
    images: Images | None = None,
    input_shape: tuple[int, ...] | None = None,
    output: int | None = None,
) -> Network:
    """The network of a file that was read; see :func:`read`.

    Args:
        content: What the file holds.
        source: The file, for messages.
        architecture: See :func:`read`.
        scaling: See :func:`read`.
        images: See :func:`read`.
        input_shape: See :func:`read`.
        output: See :func:`read`.

    Raises:
        ZoovetError: See :func:`read`.
    """
    try:
        given = None if scaling is None else scaling_preset(scaling)
        asked = None if input_shape is None else require_input_shape(input_shape)
        shape = asked if images is None else images.shape
        if content.graph is not None:
            network, own = _of_graph_file(content.graph, source, architecture, shape, output)
        elif says_its_graph(content):
            chosen_output(1, output)
            network, own = _of_own_format(content, source)
        else:
            read_as = read_open_module(content, architecture, source, shape, given, images)
            own = read_as.scaling
            _require_agreement(own, given)
            module = read_as.module if output is None else with_chosen_output(read_as.module, output)
            network = network_of_module(module, read_as.input_shape, read_as.title, read_as.notes, scaling=own or given)
            own, given = network.scaling, None
            network = replace(network, digest=weights_digest(content.tensors))
        if images is not None:
            network.require_fitting(images)
        return _scaled(network, own, given, images)
    except ZoovetError as error:
        text = str(error)
        if source in text:
            raise
        raise ZoovetError(f"{source}: {text}") from error


def _of_graph_file(
    file: GraphFile, source: str, architecture: str | None, input_shape: tuple[int, ...] | None, output: int | None
) -> tuple[Network, InputScaling | None]:
    if architecture is not None:
        shown = printable(architecture)
        raise ZoovetError(f"{source} says itself what its network is: leave out the architecture, {shown}")
    read_as = file.read(input_shape, output)
    title = f"network from {file.format_name}"
    networks = with_flat_answers(read_as.networks)
    network = network_of_graph(fold_batch_norms(networks), title, read_as.notes)
    known = replace(network, digest=digest_of(networks), unfolded=networks, output=output)
    return known, networks.graph.input_scaling


def _of_own_format(content: FileContent, source: str) -> tuple[Network, InputScaling | None]:
    networks = networks_from_content(content, source).networks
    if len(networks) != 1:
        raise ZoovetError(f"{source} holds {len(networks)} networks, one is read; zoovet.load_networks reads them all")
    graph = networks.graph
    title, digest = graph.describe(), digest_of(networks)
    network = Network(input_shape=graph.input_shape, title=title, networks=networks, digest=digest)
    return network, graph.input_scaling


def _scaled(network: Network, own: InputScaling | None, given: InputScaling | None, images: Images | None) -> Network:
    """The network with the scaling that its file says, else that given, else what is found on labelled images."""
    _require_agreement(own, given)
    known = own or given
    if known is not None:
        return network.with_scaling(known)
    return with_found_scaling(network, images)


def _require_agreement(own: InputScaling | None, given: InputScaling | None) -> None:
    if own is not None and given is not None and own != given:
        raise ZoovetError(f"it says that it reads images scaled to {own.describe()}, given is {given.describe()}")


def with_found_scaling(network: Network, images: Images | None) -> Network:
    """The network with the scaling that is found on labelled images, or a note that says why there is none.

    Args:
        network: Its scaling is not known.
        images: Reference images; ``None`` where there are none.

    Raises:
        ZoovetError: The images do not fit the network, or have other labels than it tells apart.
    """
    if images is None or images.labels is None:
        return network.with_note("input scaling not known: give it, or labelled images to find it with")
    network.require_fitting(images)
    tried = some_images(images)
    found = find_scaling(lambda scaling: _checked_logits(network.with_scaling(scaling), tried), tried)
    return network.with_note(found.note) if found.scaling is None else network.with_scaling(found.scaling, found.note)


def _checked_logits(network: Network, images: Images) -> Tensor:
    logits = network.logits(images)
    assert images.labels is not None
    highest = int(images.labels.max())
    if logits.shape[1] == 1:
        raise ZoovetError(ONE_NUMBER)
    if highest >= logits.shape[1]:
        raise ZoovetError(
            f"the network tells {logits.shape[1]} classes apart, but images have the label {highest}: labels are the "
            f"numbers of its outputs, from 0"
        )
    return logits

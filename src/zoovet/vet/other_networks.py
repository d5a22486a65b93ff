"""Weight files of networks that no graph tells: what they are, and the input scalings of theirs that images tell."""

from __future__ import annotations

from zoovet.architectures import read_module
from zoovet.errors import ZoovetError
from zoovet.images import Images
from zoovet.networks import InputScaling, Networks
from zoovet.printable import printable
from zoovet.readers import FileContent
from zoovet.readers.tensors import shape_in_words
from zoovet.vet.network import Network
from zoovet.vet.reading import with_found_scaling

__all__ = ["described", "parts_with_scalings"]

_NUM_NAMED = 3


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


def parts_with_scalings(
    networks: Networks, images: Images | None, source: str
) -> tuple[tuple[Networks, ...], tuple[str, ...]]:
    """The networks of a file with the input scaling that is found on labelled images for each, where it says none.

    Args:
        networks: Of one graph.
        images: Reference images.
        source: The file, for messages.

    Returns:
        The networks in their order, those of one scaling that follow each other together; and what was found.

    Raises:
        ZoovetError: The images do not fit the networks.
    """
    if images is None or len(networks) == 0:
        return (networks,), ()
    is_sought = networks.graph.input_scaling is None and images.labels is not None
    title, found = networks.graph.describe(), list[Network]()
    try:
        for network in networks:
            own = Network(input_shape=networks.graph.input_shape, title=title, networks=network)
            own.require_fitting(images)
            if not is_sought:
                return (networks,), ()
            found.append(with_found_scaling(own, images))
    except ZoovetError as error:
        raise ZoovetError(f"{source}: {error}") from None
    starts = [index for index, one in enumerate(found) if index == 0 or one.scaling != found[index - 1].scaling]
    parts = tuple(
        networks[start:end].with_scaling(found[start].scaling)
        for start, end in zip(starts, [*starts[1:], len(found)], strict=True)
    )
    return parts, found[0].notes if len(found) == 1 else _notes(found, images)


def _notes(found: list[Network], images: Images) -> tuple[str, ...]:
    """What was found for several networks, a line for each input scaling."""
    by_scaling: dict[InputScaling | None, list[int]] = {}
    for index, network in enumerate(found):
        by_scaling.setdefault(network.scaling, []).append(index)
    return tuple(
        f"input scaling {'not found' if scaling is None else f'{scaling.describe()} found'} on {len(images)} labelled "
        f"images for {_numbered(numbers)}"
        for scaling, numbers in by_scaling.items()
    )


def _numbered(numbers: list[int]) -> str:
    more = f" and {len(numbers) - _NUM_NAMED} more" if len(numbers) > _NUM_NAMED else ""
    return f"network {', '.join(map(str, numbers[:_NUM_NAMED]))}{more}"

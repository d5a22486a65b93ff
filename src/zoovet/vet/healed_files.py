"""Writing a file's network after it was healed: the file as it was, names and layout, with other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks import Networks
from zoovet.printable import printable
from zoovet.readers import FileContent, content_of_bytes, read_content, save_networks, says_its_graph
from zoovet.readers.onnx.embedding import embedded
from zoovet.readers.renumbering import placed_names, renumbered_graph_file, renumbered_state_dict
from zoovet.readers.rewriting import LayoutError, NewNumbers, require_tensors, rewrite, rounding
from zoovet.vet.endings import end_alike
from zoovet.vet.healed_network import HealedNetwork
from zoovet.vet.network import Network

__all__ = [
    "GRAPH_FILES",
    "HealedFile",
    "in_one_file",
    "require_same_ending",
    "require_writable_format",
    "writable_names",
    "write_healed",
]

_WRITTEN = "safetensors, a state dict by torch.save (.pt, .pth), ONNX, Keras (.keras, .h5), TorchScript, or TFLite"
GRAPH_FILES = ("ONNX", "Keras", "TorchScript", "TFLite")
"""Which files that say their network are written with other numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HealedFile:
    """A file whose network no repairer knew, and that network after its healing.

    Attributes:
        before: The network as it was read.
        healed: After its healing.
        content: What the file holds.
    """

    before: Network
    healed: HealedNetwork
    content: FileContent


def require_writable_format(content: FileContent, source: str) -> None:
    """Check that a file's format is one in which healed networks are written.

    Raises:
        LayoutError: It is not; the message says which are.
    """
    graph = content.graph
    if graph is not None and graph.format_name not in GRAPH_FILES:
        raise LayoutError(
            f"{source}: no healed network is written as {graph.format_name}; give the network as {_WRITTEN}"
        )


def require_same_ending(path: Path, out: Path) -> None:
    """Check that a healed network's file is called as one of the input's format, which it keeps.

    Raises:
        ZoovetError: It ends otherwise.
    """
    if not end_alike(path, out):
        raise ZoovetError(
            f"--out {printable(out)}: no repairer knows the network, so that it is written in the format of the input: "
            f"give a name that ends in {printable(path.suffix) or 'no suffix'}"
        )


def writable_names(network: Network, content: FileContent) -> set[str] | None:
    """The weights of a file's network whose numbers the file can be given anew; ``None``: all of them."""
    if content.graph is None and says_its_graph(content):
        return None
    return set(placed_names(content, _parameters(network)))


def write_healed(file: HealedFile, path: Path, out: Path) -> tuple[str, ...]:
    """Write a file again with its healed network's numbers; the new file is there whole or not at all.

    Args:
        file: What was made of it.
        path: The file.
        out: Where the new one goes; ends as files of its format do.

    Returns:
        What is to be said of it, one line each.

    Raises:
        ZoovetError: The file's layout cannot be kept, its name ends otherwise, or the new one cannot be written.
    """
    source, content = printable(path), file.content
    require_same_ending(path, out)
    require_writable_format(content, source)
    before, after = _parameters(file.before), _parameters(file.healed)
    if content.graph is not None:
        data = content.graph.data
        changed = renumbered_graph_file(data, before, after, source)
        rewrite(path, changed, out, lambda written: _require_edited(written, file, changed, source), data.file)
        return ()
    if says_its_graph(content):
        assert file.healed.networks is not None
        save_networks(file.healed.networks.with_scaling(file.healed.scaling), out)
        return ()
    changed = renumbered_state_dict(content, before, after, source)
    rewrite(
        path, changed, out, lambda written: require_tensors(read_content(written).tensors, content, changed, source)
    )
    if len(content.parts) > 1:
        return ("only the network that was read is healed; what the file holds beside it is as it was",)
    return ()


def in_one_file(content: FileContent, path: Path) -> FileContent:
    """What a file holds, with the numbers in it that an ONNX file keeps in others: it is written again as one file.

    Raises:
        ZoovetError: As :func:`~zoovet.readers.onnx.embedding.embedded`.
    """
    graph = content.graph
    if graph is None or graph.format_name != "ONNX":
        return content
    data = embedded(graph.data, path.parent, printable(path))
    return content if data is None else content_of_bytes(data, printable(path))


def _parameters(network: Network) -> dict[str, Tensor]:
    own = network.networks if network.unfolded is None else network.unfolded
    if own is not None:
        return {name: tensor[0] for name, tensor in own.parameters.items()}
    assert network.module is not None
    return {name: tensor.detach() for name, tensor in network.module.named_parameters()}


def _require_edited(written: Path, file: HealedFile, changed: list[NewNumbers], source: str) -> None:
    """Raise where a file that was written reads as another network than the healed one."""
    graph = read_content(written).graph
    found: Networks | None = None if graph is None else graph.read(file.before.input_shape, file.before.output).networks
    wanted = file.healed.unfolded
    if found is None or wanted is None or not _alike(found.parameters, wanted.parameters, rounding(changed)):
        raise LayoutError(f"{source}: with other numbers it reads as another network, as where tensors are shared")


def _alike(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float) -> bool:
    if list(found) != list(wanted):
        return False
    return all(torch.allclose(found[name], own, rtol=tolerance, atol=tolerance * 1e-3) for name, own in wanted.items())

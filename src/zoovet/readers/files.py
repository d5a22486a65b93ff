"""Safe reading and writing of weight files. Code in a file is never run.

zoovet writes safetensors: ``weights.k`` [B, out, in, \\*kernel] and ``biases.k`` [B, out] for every layer k, and in the
metadata ``zoovet_format`` (``1``) and ``zoovet_spec`` (the graph's JSON, its input scaling where that is known). It
reads these, safetensors of others, and what ``torch.save(module.state_dict(), …)`` wrote, in the zip format or the one
before it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.files import atomic_path
from zoovet.json_files import parse_json
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.scaling import InputScaling, scaling_preset
from zoovet.printable import printable
from zoovet.readers.content import FileContent
from zoovet.readers.formats import read_content
from zoovet.readers.named_layers import contents_in_words
from zoovet.readers.state_dicts import Reading, read_state_dicts
from zoovet.readers.tensors import usable

__all__ = ["load_networks", "networks_from_content", "read_state_dict", "save_networks", "says_its_graph"]

_FORMAT, _GRAPH, _VERSION = "zoovet_format", "zoovet_spec", "1"
_SUFFIX = ".safetensors"


def load_networks(
    path: str | Path | Sequence[str | Path],
    graph: Graph | None = None,
    *,
    scaling: InputScaling | str | None = None,
    order: Sequence[str] | None = None,
) -> Networks:
    """Read networks from a file, or from several as one batch.

    Args:
        path: A file that :func:`save_networks` wrote (any number of networks), a state dict of one network
            (safetensors or ``torch.save``), or a sequence of such files, whose networks must have one graph.
        graph: What they are. Needed for files that zoovet did not write, which do not say it; checked against the
            file's own where there is one. Which of a state dict's layers is which of the graph's, shapes and names
            tell (:mod:`zoovet.readers.layer_order`).
        scaling: What they read for pixels, or its name in :data:`~zoovet.networks.SCALING_PRESETS`, where their file
            does not say it; checked against the file where it does.
        order: Names of a state dict's layers in the order in which they run, where shapes and names leave it open.

    Returns:
        The networks, on the CPU, in the order of the files; float64 where the file is, else float32. Their graph's
        ``input_scaling`` is ``None`` where neither file nor caller says it, as of files that a zoovet wrote before it
        knew input scalings.

    Raises:
        ZoovetError: A file is missing, truncated, not a weight file, has code in it, NaN or infinite weights, or does
            not fit the graph or the scaling. The message names the file, and the tensor where there is one.
    """
    if scaling is not None:
        scaling = scaling_preset(scaling)
    if isinstance(path, str | Path):
        return networks_from_content(
            read_content(Path(path)), printable(path), graph, scaling=scaling, order=order
        ).networks
    parts: list[Networks] = []
    for file in path:
        part = networks_from_content(
            read_content(Path(file)), printable(file), graph, scaling=scaling, order=order
        ).networks
        if parts and part.graph != parts[0].graph:
            raise ZoovetError(
                f"the files hold networks of different graphs: {part.graph.describe()} in {file}, "
                f"{parts[0].graph.describe()} before it; load them one by one"
            )
        if parts and part.graph.input_scaling != parts[0].graph.input_scaling:
            raise ZoovetError(
                f"the networks in {printable(file)} read images of another input scaling than those before it"
            )
        parts.append(part)
    if not parts:
        raise ZoovetError("no files were given to load networks from")
    return Networks.concatenate(parts)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a weight file's named tensors, in the order of the file.

    Args:
        path: A safetensors file, or what ``torch.save`` wrote of a dictionary of tensors, also where that sits in
            other dictionaries or lists, whatever their keys. Entries that are not tensors, such as an epoch, are left
            out.

    Returns:
        The tensors, on the CPU. Where the file holds several state dicts, all of them, each name behind the keys that
        lead to it.

    Raises:
        ZoovetError: The file is missing, truncated, not a weight file, or has code in it.
    """
    content = read_content(Path(path))
    _require_no_graph(content, printable(path))
    return dict(content.tensors)


def save_networks(networks: Networks, path: str | Path) -> None:
    """Write networks and their graph to a safetensors file. The file is there whole or not at all.

    Args:
        networks: Any number of networks.
        path: The file, ending in ``.safetensors``; one that is there is replaced.

    Raises:
        ZoovetError: The name ends otherwise, a weight is NaN or infinite, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != _SUFFIX:
        raise ZoovetError(f"networks are written as safetensors: give a name that ends in {_SUFFIX}, not {path.name!r}")
    networks.require_finite(f"not written to {path}")
    tensors = {}
    for kind, layers in (("weights", networks.weights), ("biases", networks.biases)):
        for index, tensor in enumerate(layers):
            tensors[f"{kind}.{index}"] = tensor.detach().cpu().contiguous().clone()
    metadata = {_FORMAT: _VERSION, _GRAPH: json.dumps(networks.graph.to_json())}
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise ZoovetError(f"cannot write {path}: {error}") from error


def networks_from_content(
    content: FileContent,
    source: str,
    graph: Graph | None = None,
    *,
    scaling: InputScaling | None = None,
    order: Sequence[str] | None = None,
) -> Reading:
    """The networks of a file that was read, as :func:`load_networks` gives them, and what is to be said of them.

    Args:
        content: From :func:`~zoovet.readers.formats.read_content`.
        source: The file, for messages.
        graph: What they are; see :func:`load_networks`.
        scaling: What they read for pixels; see :func:`load_networks`.
        order: Names of the layers as they run; see :func:`load_networks`.

    Raises:
        ZoovetError: There are NaN or infinite weights, or the content does not fit the graph, or says none and none is
            given; or its input scaling is another than that given.
    """
    _require_no_graph(content, source)
    if scaling is None and graph is not None:
        scaling = graph.input_scaling
    if says_its_graph(content):
        notes = () if order is None else ("its file says in which order its layers run; the order given was not used",)
        return Reading(networks=_with_scaling(_from_own_format(content, graph, source), scaling, source), notes=notes)
    if graph is None:
        raise ZoovetError(
            f"{source} does not say what its network is (a state dict knows no activations or pooling); "
            f"give graph=…, a zoovet.Graph. The file holds {contents_in_words(content.tensors)}"
        )
    reading = read_state_dicts(content, replace(graph, input_scaling=None), source, order=order)
    return replace(reading, networks=_with_scaling(reading.networks, scaling, source))


def says_its_graph(content: FileContent) -> bool:
    """Whether a file is one that zoovet wrote, with its networks' graph in it."""
    return _FORMAT in content.metadata


def _require_no_graph(content: FileContent, source: str) -> None:
    if content.graph is not None:
        raise ZoovetError(
            f"{source} is {content.graph.format_name}, which says its network's own graph: zoovet.read reads it"
        )


def _with_scaling(networks: Networks, given: InputScaling | None, source: str) -> Networks:
    """Networks that read a given scaling, where their file does not say another."""
    own = networks.graph.input_scaling
    if given is None or given == own:
        return networks
    if own is not None:
        raise ZoovetError(
            f"{source} says that it reads images scaled to {own.describe()}, but {given.describe()} is given as its "
            f"input scaling; leave that out"
        )
    try:
        return networks.with_scaling(given)
    except ZoovetError as error:
        raise ZoovetError(f"{source}: {error}") from error


def _from_own_format(content: FileContent, graph: Graph | None, source: str) -> Networks:
    tensors, version = content.tensors, content.metadata[_FORMAT]
    if version != _VERSION:
        raise ZoovetError(
            f"{source} is in zoovet's format '{printable(version, 40)}', this zoovet reads {_VERSION!r}; "
            "use the one that wrote it"
        )
    described = parse_json(content.metadata.get(_GRAPH, "null"), f"{source}: its {_GRAPH}")
    try:
        own = Graph.from_json(described)
    except ZoovetError as error:
        raise ZoovetError(f"{source}: its {_GRAPH} cannot be read: {printable(error, 160)}") from error
    shown = printable(own.describe(), 100)
    if graph is not None and graph != own:
        raise ZoovetError(
            f"{source} does not fit the graph: it holds networks of {shown} (graph {own.graph_id}), "
            f"expected are {graph.describe()} (graph {graph.graph_id})"
        )
    num_layers = len(own.chain.layers)
    names = [f"{kind}.{index}" for kind in ("weights", "biases") for index in range(num_layers)]
    if set(names) != set(tensors):
        lacking = next((f"lacks {name}" for name in names if name not in tensors), "holds more")
        raise ZoovetError(
            f"{source} does not fit its own graph, {shown}: expected are weights and biases of {num_layers} layers, "
            f"it {lacking}; get it anew"
        )
    numbers = usable({name: tensors[name] for name in names}, source)
    ordered = list(numbers.values())
    try:
        return Networks.from_layers(own, tuple(ordered[:num_layers]), tuple(ordered[num_layers:]))
    except ZoovetError as error:
        raise ZoovetError(f"{source} does not fit its own graph, {shown}: {printable(error)}") from error

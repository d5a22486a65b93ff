"""Which of a file's layers is which layer of a graph. Nothing is guessed.

1. A file's layer may be a graph's where the shapes fit. If one assignment of all fits, it is taken, whatever the names
   and whatever the order of the file.
2. If several fit, the layers that could change places must have names of one form that differ in their numbers
   (``conv1``, ``conv2``; ``features.0``, ``features.3``). They run in the order of the numbers, provided that

   - layers of that form whose place the shapes tell are in that order too;
   - where the file keeps the order of registration, that order is the same;
   - where it does not (safetensors), numbers in words (``conv1``, but not the ``0`` of ``features.0``) leave no gap:
     ``b16``, ``b32`` and ``b64`` are sizes.
3. Else the order is open, an error names the layers, and the user says it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from zoovet.errors import ZoovetError
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import LayerSpec
from zoovet.printable import printable
from zoovet.readers.named_layers import NamedLayer
from zoovet.readers.tensor_names import number_form
from zoovet.readers.tensors import shape_in_words

__all__ = ["LayerOrderError", "assigned_in_order", "fits", "layers_in_order", "weight_shapes"]

_NAMES_IN_MESSAGES = 4


class LayerOrderError(ZoovetError):
    """The order in which a file's layers run is open; the user has to say it."""


def layers_in_order(
    layers: Sequence[NamedLayer], graph: Graph, source: str, *, ordered: bool
) -> tuple[NamedLayer, ...] | None:
    """A file's layers in the order in which they run (see the top of this file).

    Args:
        layers: As many as the graph has.
        graph: What the network is.
        source: The file, for messages.
        ordered: Whether the file keeps the order of registration.

    Returns:
        One layer of the file for each of the graph's; ``None`` where their shapes do not fit it.

    Raises:
        LayerOrderError: Several orders fit, and the names do not tell which it is.
    """
    return assigned_in_order(layers, graph.chain.layers, source, ordered=ordered)


def assigned_in_order(
    layers: Sequence[NamedLayer], graphs: Sequence[LayerSpec], source: str, *, ordered: bool
) -> tuple[NamedLayer, ...] | None:
    """As :func:`layers_in_order`, for layers of a graph alone: how they fit one another is not looked at."""
    may_be = np.array([[fits(of_graph, own) for own in layers] for of_graph in graphs])
    assigned = _some_assignment(may_be)
    if assigned is None:
        return None
    chosen, open_groups = list(assigned), _exchangeable(may_be, assigned)
    for places in open_groups:
        by_number = sorted((assigned[place] for place in places), key=lambda index: number_form(layers[index].name)[1])
        for place, index in zip(places, by_number, strict=True):
            chosen[place] = index
    for places in open_groups:
        candidates = [layers[chosen[place]] for place in places]
        forms = {number_form(own.name)[0] for own in candidates}
        family = [layers[index] for index in chosen if number_form(layers[index].name)[0] in forms]
        all_fit = all(may_be[place, chosen[place]] for place in places)
        if len(forms) > 1 or not all_fit or not _run_by_number(family, ordered=ordered):
            raise _open_order(candidates, layers, source)
    return tuple(layers[index] for index in chosen)


def fits(of_graph: LayerSpec, layer: NamedLayer) -> bool:
    """Whether a file's layer has the shapes of a graph's."""
    bias = layer.bias
    bias_fits = bias is None or tuple(bias.shape) == (of_graph.out_channels,)
    return bias_fits and tuple(layer.weight.shape) in weight_shapes(of_graph)


def weight_shapes(layer: LayerSpec) -> set[tuple[int, ...]]:
    """Shapes in which a layer's weight may come: flattened maps, and 1×1 convolutions as linear layers and back."""
    out, incoming = layer.out_channels, layer.in_channels
    shapes = {layer.weight_shape}
    if layer.kind == "linear":
        shapes.add((out, incoming * layer.kernel_size))
    if layer.kernel_size == 1:
        shapes |= {(out, incoming), (out, incoming, 1, 1)}
    return shapes


def _some_assignment(may_be: np.ndarray[Any, Any]) -> list[int] | None:
    matching = maximum_bipartite_matching(csr_matrix(may_be.astype(np.int8)), perm_type="column")
    return None if (matching < 0).any() else [int(column) for column in matching]


def _exchangeable(may_be: np.ndarray[Any, Any], assigned: Sequence[int]) -> list[list[int]]:
    """Rows that could exchange what they were assigned, in groups of two or more, ascending."""
    reaches = csr_matrix(may_be[:, list(assigned)].astype(np.int8))
    _, group_of = connected_components(reaches, directed=True, connection="strong")
    groups = [np.flatnonzero(group_of == group).tolist() for group in np.unique(group_of)]
    return [group for group in groups if len(group) > 1]


def _run_by_number(family: Sequence[NamedLayer], *, ordered: bool) -> bool:
    """Whether layers of one form, in the order in which they would run, agree with the evidence that there is."""
    numbers = [number_form(layer.name)[1] for layer in family]
    if any(first >= second for first, second in itertools.pairwise(numbers)):
        return False
    if ordered:
        return all(first.place < second.place for first, second in itertools.pairwise(family))
    alone = [
        re.fullmatch(r"\d+", part) is not None for part in family[0].name.split(".") for _ in re.findall(r"\d+", part)
    ]
    columns = [{own[index] for own in numbers} for index in range(len(alone))]
    return all(ok or max(values) - min(values) < len(values) for ok, values in zip(alone, columns, strict=True))


def _open_order(candidates: Sequence[NamedLayer], layers: Sequence[NamedLayer], source: str) -> LayerOrderError:
    shown = [f"{printable(own.name, 24)} {shape_in_words(own.weight.shape)}" for own in candidates[:_NAMES_IN_MESSAGES]]
    more = len(candidates) - len(shown)
    names = ", ".join(printable(own.name, 16) for own in layers[:_NAMES_IN_MESSAGES])
    names += ", …" if len(layers) > _NAMES_IN_MESSAGES else ""
    return LayerOrderError(
        f"{source}: in which order {', '.join(shown)}{f' and {more} more' if more else ''} run is open, and names do "
        f"not tell; say it: --order with all {len(layers)} layers as they run ({names})"
    )

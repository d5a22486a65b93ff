"""The released code's parameter names, and where each parameter lies in our model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.metanets.equivariant import EquivariantLayer, Invariant
from zoovet.metanets.messages import EdgeUpdate, Messages, PlainEdgeUpdate, PlainMessages
from zoovet.metanets.mlp import MLP, Linear, MLPTail
from zoovet.metanets.readout import DeepSetsReadout, FullGraphReadout, LastLayerReadout, SlotLinear
from zoovet.metanets.rounds import Round
from zoovet.metanets.scalegmn import ScaleGMN

__all__ = ["load_state"]


@dataclass(frozen=True)
class Place:
    """Where a released parameter goes.

    Attributes:
        parts: Our parameters (or views of them) that it is cut into along ``axis``.
        axis: That axis.
        shape: Its shape.
        is_needed: Whether a state dict must hold it.
    """

    parts: tuple[Tensor, ...]
    axis: int
    shape: tuple[int, ...]
    is_needed: bool = True


Places = Iterator[tuple[str, Place]]


def load_state(model: ScaleGMN, state: Mapping[str, Tensor], layer_layout: Sequence[int]) -> None:
    """Copy released parameters into our model.

    Args:
        model: Built from the same configuration.
        state: Released names and tensors.
        layer_layout: Channels of the networks' groups.

    Raises:
        ZoovetError: A parameter is missing, unknown, of another shape, or not finite; the message names it.
    """
    places = dict(_of_model(model, layer_layout))
    for name, tensor in state.items():
        if name not in places:
            raise ZoovetError(f"state dict: unknown parameter {name!r}{nearest(name, places)}")
        received = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        if received != places[name].shape:
            raise ZoovetError(f"state dict: {name!r} must be a tensor of shape {places[name].shape}, got {received}")
        if not bool(torch.isfinite(tensor).all()):
            raise ZoovetError(f"state dict: {name!r} must be finite, but holds NaN or infinite numbers")
    for name, place in places.items():
        if name not in state:
            if place.is_needed:
                raise ZoovetError(f"state dict: the parameter {name!r} of shape {place.shape} is missing")
            continue
        if not place.parts:
            continue
        cuts = [part.shape[place.axis] for part in place.parts] if len(place.parts) > 1 else []
        pieces = torch.split(state[name], cuts, dim=place.axis) if cuts else [state[name]]
        for part, piece in zip(place.parts, pieces, strict=True):
            part.copy_(piece)


def _at(tensor: Tensor | None) -> Place:
    assert tensor is not None
    return Place((tensor.detach(),), 0, tuple(tensor.shape))


def _joined(parts: Sequence[Tensor], axis: int) -> Place:
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return Place(tuple(part.detach() for part in parts), axis, tuple(shape))


def _unused(shape: tuple[int, ...], *, is_needed: bool = True) -> Place:
    return Place((), 0, shape, is_needed)


def _of_model(model: ScaleGMN, layer_layout: Sequence[int]) -> Places:
    num_hidden = len(layer_layout) - 2
    yield "construct_graph.proj_bias.weight", _at(model.project_nodes.weight)
    yield "construct_graph.proj_weight.weight", _at(model.project_edges.weight)
    tables = model.node_embedding
    node_tables = (tables.inputs, tables.hidden[:num_hidden], tables.outputs)
    yield "positional_embeddings.pos_embed", _joined(node_tables, 0)
    if model.edge_embedding is not None:
        edge_tables = (model.edge_embedding.inputs, model.edge_embedding.hidden, model.edge_embedding.outputs)
        yield "positional_embeddings_edge.pos_embed", _joined(edge_tables, 0)
    for index, step in enumerate(model.rounds):
        assert isinstance(step, Round)
        yield from _of_round(step, index, model)
    if model.weight_head is not None:
        for layer in range(num_hidden + 1):
            position = -1 if layer == num_hidden else layer
            yield f"weight_scale.{layer}", _at(model.weight_head.weight_scale[position])
            yield f"bias_scale.{layer}", _at(model.weight_head.bias_scale[position])
    elif isinstance(model.readout, LastLayerReadout):
        yield from _of_last_layer(model.readout)
    elif isinstance(model.readout, DeepSetsReadout):
        yield from _of_deep_sets(model.readout)
    else:
        assert isinstance(model.readout, FullGraphReadout)
        yield from _of_full_graph(model.readout, model)


def _of_round(step: Round, index: int, model: ScaleGMN) -> Places:
    is_bidirectional = model.config.is_bidirectional
    for prefix, messages in zip(("gnn.fw_layers", "gnn.bw_layers"), step.messages, strict=False):
        yield from _of_messages(f"{prefix}.{index}", messages, model)
    inside = f"gnn.fw_layers.{index}"
    update = f"gnn.update_node_feats_fn.{index}" if is_bidirectional else f"{inside}.update_node_feats_fn"
    if isinstance(step.update, MLP):
        yield from _of_mlp(f"{update}.rho", step.update)
    else:
        yield from _of_layer(update, step.update, model)
    if step.skip is not None:
        yield f"gnn.skip_layers.{index}.weight", _at(step.skip.weight)
    backward = f"gnn.bw_update_edge_attr_fn.{index}"
    names = [f"gnn.fw_update_edge_attr_fn.{index}", backward] if is_bidirectional else [f"{inside}.update_edge_attr_fn"]
    for name, edge_update in zip(names, step.edge_updates, strict=False):
        yield from _of_edge_update(name, edge_update)
    if len(step.edge_updates) == 1 and is_bidirectional and model.config.symmetry == "scale":
        # a backward update in the last layer of a weight-output model would be read by nothing
        for name, place in _of_edge_update(backward, step.edge_updates[0]):
            yield name, _unused(place.shape, is_needed=False)


def _of_messages(prefix: str, messages: torch.nn.Module, model: ScaleGMN) -> Places:
    if isinstance(messages, PlainMessages):
        yield from _of_mlp(f"{prefix}.message_fn.rho", messages.mlp)
        return
    assert isinstance(messages, Messages)
    yield f"{prefix}.w_v.weight", _at(messages.w_v.weight)
    yield f"{prefix}.w_e.weight", _at(messages.w_e.weight)
    yield from _of_layer(f"{prefix}.message_fn", messages.layer, model)


def _of_edge_update(prefix: str, update: torch.nn.Module) -> Places:
    if isinstance(update, PlainEdgeUpdate):
        yield from _of_mlp(f"{prefix}.phi", update.mlp)
        return
    assert isinstance(update, EdgeUpdate)
    yield f"{prefix}.W.weight", _at(update.gamma.weight)
    yield from _of_mlp(f"{prefix}.phi", update.phi)
    if update.rho is not None:
        name = "g_sign" if update.is_mixed else "g1"
        yield from _of_mlp(f"{prefix}.{name}.rho", update.rho)


def _of_layer(prefix: str, layer: EquivariantLayer, model: ScaleGMN) -> Places:
    inner = f"{prefix}.eq_layers.0"
    yield f"{inner}.W.weight", _at(layer.gamma.weight)
    yield from _of_branches(f"{inner}.g", layer.invariant, model)
    for role, name in (("input", "in"), ("output", "last")):
        if role in layer.io:
            mlp = layer.io[role]
            assert isinstance(mlp, MLP)
            where = f"{prefix}.eq_layers_{name}.0.rho" if layer.replaces_layer else f"{inner}.g.phi_{name}"
            yield from _of_mlp(where, mlp)


def _of_branches(prefix: str, branches: torch.nn.ModuleDict, model: ScaleGMN) -> Places:
    for branch, invariant in branches.items():
        assert isinstance(invariant, Invariant)
        name = f"{prefix}.g_{branch}" if model.config.symmetry == "mixed" else f"{prefix}.g1"
        yield from _of_mlp(f"{name}.phi", invariant.phi)
        if invariant.rho is not None:
            yield from _of_mlp(f"{name}.rho", invariant.rho)


def _of_mlp(prefix: str, mlp: MLP) -> Places:
    yield from _of_linear(f"{prefix}.fc.0", mlp.first)
    yield from _of_tail(prefix, mlp)


def _of_tail(prefix: str, mlp: MLPTail) -> Places:
    if mlp.norm is not None:
        yield f"{prefix}.ln.0.weight", _at(mlp.norm.weight)
        yield f"{prefix}.ln.0.bias", _at(mlp.norm.bias)
    yield from _of_linear(f"{prefix}.fc.1", mlp.last)


def _of_linear(prefix: str, linear: Linear) -> Places:
    yield f"{prefix}.weight", _at(linear.weight)
    yield f"{prefix}.bias", _at(linear.bias)


def _of_slots(prefix: str, linear: SlotLinear) -> Places:
    yield f"{prefix}.weight", _at(linear.weight.flatten(1))
    yield f"{prefix}.bias", _at(linear.bias)


def _of_last_layer(readout: LastLayerReadout) -> Places:
    if readout.project_inputs is None:
        yield from _of_slots("gnn.readout.rho.fc.0", readout.project_outputs)
        yield from _of_tail("gnn.readout.rho", readout.mlp)
        return
    yield from _of_slots("gnn.project_last", readout.project_outputs)
    yield from _of_slots("gnn.project_first", readout.project_inputs)
    assert isinstance(readout.mlp, MLP)
    yield from _of_mlp("gnn.readout.rho", readout.mlp)


def _of_full_graph(readout: FullGraphReadout, model: ScaleGMN) -> Places:
    yield from _of_branches("gnn.readout", readout.invariant, model)
    columns = (
        readout.from_hidden.weight,
        readout.from_inputs.weight.flatten(1),
        readout.from_outputs.weight.flatten(1),
    )
    yield "gnn.readout.global_mlp.fc.0.weight", _joined(columns, 1)
    yield "gnn.readout.global_mlp.fc.0.bias", _at(readout.from_hidden.bias)
    yield from _of_tail("gnn.readout.global_mlp", readout.mlp)
    for invariant in list(readout.invariant.values())[:1]:
        assert isinstance(invariant, Invariant)
        for name, place in _of_mlp("gnn.readout.phi", invariant.phi):
            yield name, _unused(place.shape)


def _of_deep_sets(readout: DeepSetsReadout) -> Places:
    for own, again, mlp in (
        ("local_mlp", "aggr.local_nn", readout.of_node),
        ("global_mlp", "aggr.global_nn", readout.of_sum),
    ):
        yield from _of_mlp(f"gnn.readout.{own}", mlp)
        for name, place in _of_mlp(f"gnn.readout.{again}", mlp):
            yield name, _unused(place.shape)

"""ScaleGMN in plain form: each layer as the paper's equation, on nodes i and edges j → i. For readers and tests only.

Source: Kalogeropoulos et al. 2024, *Scale Equivariant Graph Metanetworks*: message passing on a network's graph
(section 3), its layers made of ``ScaleInv``, ``ScaleEq`` and ``ReScaleEq`` (section 5), both directions (section 5 and
its appendix). What computes in their place folds and shares what it can (:mod:`messages`, :mod:`equivariant`); tests
hold that to this. Shapes: B networks, N nodes, E edges, d features. Dropout is off, and the mathematics is followed
where the released code has other numbers.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoovet.metanets.batching import read_batch
from zoovet.metanets.config import ReleasedBehaviour
from zoovet.metanets.equivariant import EquivariantLayer, Invariant, branch_of
from zoovet.metanets.features import EdgeEmbedding, NodeEmbedding
from zoovet.metanets.kernels import kernel_positions, kernels_of_size
from zoovet.metanets.messages import EdgeUpdate, Messages, PlainEdgeUpdate, PlainMessages
from zoovet.metanets.mlp import MLP, MLPTail
from zoovet.metanets.plain_graph import PlainGraph, plain_graph
from zoovet.metanets.readout import DeepSetsReadout, FullGraphReadout, LastLayerReadout, PooledOutputsReadout
from zoovet.metanets.rounds import Round
from zoovet.metanets.scalegmn import ScaleGMN
from zoovet.metanets.tables import table_row, table_rows
from zoovet.metanets.weight_head import WeightHead
from zoovet.networks.batch import Networks

__all__ = ["plain_scalegmn"]

Changes = tuple[list[Tensor], list[Tensor]]


def plain_scalegmn(model: ScaleGMN, networks: Networks) -> Tensor | Changes:
    """What ``model(networks)`` computes; for weight output what ``model.changes(networks)`` does.

    Args:
        model: Of any configuration without probes, inversion and further node features; not of released behaviour.
        networks: Of one kind.
    """
    behaviour = ReleasedBehaviour()
    assert model.behaviour == behaviour
    dtype = model.project_nodes.weight.dtype
    batch = read_batch(networks, None, None, config=model.config, behaviour=behaviour, dtype=dtype)
    graph = plain_graph(batch.buckets[0], batch.contents[0])
    x, p = init_nodes(model, graph)
    edges = init_edges(model, graph)
    for one in model.rounds:
        x, edges = message_passing(cast(Round, one), x, edges, p, graph)
    if model.weight_head is None:
        return read_out(cast(nn.Module, model.readout), x, graph)
    return weight_changes(model.weight_head, x, edges[0], graph)


def init_nodes(model: ScaleGMN, graph: PlainGraph) -> tuple[Tensor, Tensor]:
    """h_V(i) = (W b_i) ⊙ p_i for hidden nodes, W b_i + p_i at the input and the output; and p: [B, N, d] each."""
    h = model.project_nodes(graph.biases(model.behaviour.input_feature))
    table: NodeEmbedding = model.node_embedding
    num_depths = graph.bucket.structure.num_hidden_depths
    p, x = torch.empty_like(h), torch.empty_like(h)
    for group, nodes in zip(graph.groups, graph.nodes, strict=True):
        adds = table.adds_io
        if group.role == "hidden":
            p[:, nodes], adds = table_row(table.hidden, group.depth - 1, num_depths), table.adds_hidden
        else:
            p[:, nodes] = table_rows(table.inputs if group.role == "input" else table.outputs, group.size)
        x[:, nodes] = h[:, nodes] + p[:, nodes] if adds else h[:, nodes] * p[:, nodes]
    return x, p


def init_edges(model: ScaleGMN, graph: PlainGraph) -> list[Tensor]:
    """h_E(i, j) = W w_ij, and against the edges W' (an inverse of w_ij); [B, E, d] a direction."""
    kernel = model.config.max_kernel
    edges = [model.project_edges(graph.kernels(kernel))]
    if model.project_backward_edges is not None:
        edges.append(model.project_backward_edges(graph.inverse_kernels(kernel)))
    return edges if model.edge_embedding is None else [_embedded(model.edge_embedding, e, graph) for e in edges]


def _embedded(table: EdgeEmbedding, e: Tensor, graph: PlainGraph) -> Tensor:
    """e_ij ⊙ p_ij: by the input that an edge comes from, by the output that it leads to, else by its depth."""
    structure, e = graph.bucket.structure, e.clone()
    for block, edges in zip(structure.blocks, graph.edges, strict=True):
        source, target = structure.groups[block.source], structure.groups[block.target]
        rows = []
        if source.role == "input":
            of_inputs = table_rows(table.inputs, source.size)
            rows.append(of_inputs[graph.source[edges] - graph.nodes[block.source].start])
        if target.role == "output":
            of_outputs = table_rows(table.outputs, target.size)
            rows.append(of_outputs[graph.target[edges] - graph.nodes[block.target].start])
        if not rows and len(table.hidden):
            rows.append(table_row(table.hidden, source.depth - 1, structure.num_hidden_depths - 1))
        for row in rows:
            e[:, edges] = e[:, edges] + row if table.adds else e[:, edges] * row
    return e


def message_passing(
    layer: Round, x: Tensor, edges: list[Tensor], p: Tensor, graph: PlainGraph
) -> tuple[Tensor, list[Tensor]]:
    """x_i' = UPD(x_i, Σ_j MSG(x_j, e_ij), Σ_k MSG'(x_k, e'_ki)) + V x_i and e_ij' = UPD(e_ij, x_j, x_i) at once.

    Section 3; both directions as in ScaleGMN-B.
    """
    ways = [(graph.source, graph.target), (graph.target, graph.source)][: len(edges)]
    received = [
        aggregated(messages, x, e, p, graph, sender, receiver)
        for messages, e, (sender, receiver) in zip(layer.messages, edges, ways, strict=True)
    ]
    z = torch.cat([x, *received], dim=2)
    new = []
    for group, nodes in zip(graph.groups, graph.nodes, strict=True):
        if isinstance(layer.update, MLP):
            new.append(mlp(layer.update, z[:, nodes]))
        else:
            new.append(scale_eq(layer.update, z[:, nodes], group.node_class, p[:, nodes] if layer.embeds else None))
    x_new = torch.cat(new, dim=1)
    if layer.skip is not None:
        x_new = x_new + layer.skip(x)
    updates = zip(layer.edge_updates, edges, ways, strict=False)
    updated = [edge_update(update, x, e, graph, *way) for update, e, way in updates]
    return x_new, [*updated, *edges[len(updated) :]]


def aggregated(
    module: nn.Module, x: Tensor, e: Tensor, p: Tensor, graph: PlainGraph, sender: Tensor, receiver: Tensor
) -> Tensor:
    """a_i = Σ_j m_ij with m_ij = ScaleEq(ReScaleEq(x_j, e_ij)) = ScaleEq((W_v x_j) ⊙ (W_e e_ij)): [B, N, d].

    Permutations alone: m_ij = MLP([e_ij, x_j]).
    """
    if isinstance(module, PlainMessages):
        messages = mlp(module.mlp, torch.cat([e, x[:, sender]], dim=2))
        return torch.zeros_like(x).index_add(1, receiver, messages)
    module = cast(Messages, module)
    product = module.w_v(x)[:, sender] * module.w_e(e)
    embedding = p[:, sender if module.embeds_source else receiver] if module.embeds else None
    a = torch.zeros_like(x)
    for block, edges in zip(graph.bucket.structure.blocks, graph.edges, strict=True):
        into = block.target if receiver is graph.target else block.source
        extra = None if embedding is None else embedding[:, edges]
        m = scale_eq(module.layer, product[:, edges], graph.groups[into].node_class, extra)
        a = a.index_add(1, receiver[edges], m)
    return a


def edge_update(module: nn.Module, x: Tensor, e: Tensor, graph: PlainGraph, sender: Tensor, receiver: Tensor) -> Tensor:
    """e_ij' = (Γ e_ij) ⊙ φ([canon(x_j), canon(x_i)]): [B, E, d]. Permutations alone: MLP([e_ij, x_j, x_i])."""
    if isinstance(module, PlainEdgeUpdate):
        return mlp(module.mlp, torch.cat([e, x[:, sender], x[:, receiver]], dim=2))
    module = cast(EdgeUpdate, module)
    pairs = zip(graph.groups, graph.nodes, strict=True)
    canonical = torch.cat([canon(x[:, nodes], group.symmetry, module.rho) for group, nodes in pairs], dim=1)
    factor = mlp(module.phi, torch.cat([canonical[:, sender], canonical[:, receiver]], dim=2))
    return factor * cast(Tensor, module.gamma(e))


def scale_eq(layer: EquivariantLayer, x: Tensor, node_class: str, p: Tensor | None) -> Tensor:
    """ScaleEq(x) = (Γ x) ⊙ ScaleInv(x). Input and output nodes have q = 1: an MLP in its place, or as its factor."""
    if node_class not in ("input", "output"):
        factor = scale_inv(cast(Invariant, layer.invariant[branch_of(node_class)]), x, node_class, p)
        return cast(Tensor, layer.gamma(x)) * factor
    own = cast(MLP, layer.io[node_class if node_class in layer.io else "input"])
    made = mlp(own, x if p is None else torch.cat([x, p], dim=-1))
    return made if layer.replaces_layer else layer.gamma(x) * made


def scale_inv(layer: Invariant, x: Tensor, symmetry: str, p: Tensor | None = None) -> Tensor:
    """ScaleInv(x, p) = φ([canon(x), p])."""
    canonical = canon(x, symmetry, layer.rho)
    return mlp(layer.phi, canonical if p is None else torch.cat([canonical, p], dim=-1))


def canon(x: Tensor, symmetry: str, rho: MLP | None) -> Tensor:
    """What of x no scalar changes. q > 0: x / ‖x‖, features of size 1. q = ±1: ρ(x) + ρ(−x), or |x|. q ≠ 0: both."""
    if symmetry in ("scale", "nonzero"):
        norm = x.norm(dim=-1, keepdim=True)
        x = torch.where(norm == 0, 0.0, x.shape[-1] ** 0.5 * x / norm)
    if symmetry in ("sign", "nonzero"):
        return x.abs() if rho is None else mlp(rho, x) + mlp(rho, -x)
    return x


def mlp(module: MLP, x: Tensor) -> Tensor:
    """Linear, LayerNorm, SiLU, Linear."""
    return _after_first(module, module.first(x))


def _after_first(module: MLPTail, before: Tensor) -> Tensor:
    result: Tensor = module.last(F.silu(before if module.norm is None else module.norm(before)))
    return result


def read_out(readout: nn.Module, x: Tensor, graph: PlainGraph) -> Tensor:
    """READ: numbers of the whole network, [B, outputs]; input and output nodes are told apart by their places."""
    inputs, outputs = x[:, graph.nodes[0]], x[:, graph.nodes[graph.bucket.structure.output]]
    if isinstance(readout, DeepSetsReadout):
        return mlp(readout.of_sum, readout.standardize(mlp(readout.of_node, x).sum(1)))
    if isinstance(readout, LastLayerReadout):
        features = readout.project_outputs(outputs)
        if readout.project_inputs is None:
            return _after_first(readout.mlp, readout.standardize(features))
        both = torch.cat([features, readout.project_inputs(inputs)], dim=1)
        return mlp(cast(MLP, readout.mlp), readout.standardize(both))
    if isinstance(readout, PooledOutputsReadout):
        mean = outputs.mean(1, keepdim=True).expand_as(outputs)
        each = mlp(readout.of_output, torch.cat([outputs, mean], dim=2))
        parts = [each.mean(1), each.amax(1), readout.project_outputs(outputs)]
        parts += [] if readout.project_inputs is None else [readout.project_inputs(inputs)]
        return mlp(readout.mlp, readout.standardize(torch.cat(parts, dim=1)))
    readout = cast(FullGraphReadout, readout)
    total = torch.zeros_like(x[:, 0])
    for group, nodes in zip(graph.groups, graph.nodes, strict=True):
        if group.role == "hidden":
            invariant = cast(Invariant, readout.invariant[branch_of(group.node_class)])
            total = total + scale_inv(invariant, x[:, nodes], group.node_class).sum(1)
    before = readout.from_hidden(total) + readout.from_inputs(inputs) + readout.from_outputs(outputs)
    return _after_first(readout.mlp, readout.standardize(before))


def weight_changes(head: WeightHead, x: Tensor, e: Tensor, graph: PlainGraph) -> Changes:
    """Δw_ij = s_ℓ e_ij and Δb_i = t_ℓ x_i with learned scalars of their depth ℓ; by block and by group."""
    structure = graph.bucket.structure

    def scalar(table: Tensor, target: int, depth: int) -> Tensor:
        if structure.groups[target].role == "output":
            return table[-1]
        return table_row(table[:-1], depth, structure.num_hidden_depths)

    weights, biases = [], []
    for block, edges in zip(structure.blocks, graph.edges, strict=True):
        if block.is_written:
            rows = e[:, edges][:, :, kernel_positions(block.kernel, head.max_kernel)]
            kernels = kernels_of_size(rows.flatten(0, 1), block.kernel, head.max_kernel)
            shape = (len(e) * block.cells, block.num_targets, block.num_sources, *block.kernel)
            depth = structure.groups[block.source].depth
            weights.append(scalar(head.weight_scale, block.target, depth) * kernels.reshape(shape))
    for index, (group, nodes) in enumerate(zip(structure.groups, graph.nodes, strict=True)):
        if group.role != "input":
            biases.append(scalar(head.bias_scale, index, group.depth - 1) * x[:, nodes, 0])
    return weights, biases

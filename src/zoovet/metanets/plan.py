"""Which nodes and edges each round of message passing has to compute, from what is read at the end.

What nothing reads is left out: with a readout of the output nodes, the last round needs the messages into them and no
others, the round before those into their sources as well, and so on. Left out is only what has no effect on the
output and no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from zoovet.metanets.layout import Bucket, Chunk, EdgeLayout, NodeKey, NodeLayout

__all__ = ["DirectionPlan", "Plan", "PlanOptions", "RoundPlan", "plan_rounds"]

EdgeKey = tuple[int, int]


@dataclass(frozen=True)
class PlanOptions:
    """What decides on the plan, apart from the networks.

    Attributes:
        num_rounds: Rounds of message passing.
        is_bidirectional: Messages run against the edges too.
        updates_backward_edges: Backward edges are updated; otherwise they stay as they are at first.
        reads: What is read after the last round: ``weights`` (all edges; all nodes but the inputs), ``last_layer`` (the
            output nodes; bidirectional: the input nodes too) or ``full_graph`` (all nodes).
        max_rows: Edge rows worked on at once.
    """

    num_rounds: int
    is_bidirectional: bool
    updates_backward_edges: bool
    reads: str
    max_rows: int


@dataclass(frozen=True)
class DirectionPlan:
    """One direction's share in a round.

    Attributes:
        edges: Edges as they come in.
        messages: Chunks of edges to compute messages for, by class of the receiving nodes.
        new_edges: Edges as they leave; the same object where they are not updated.
        updates: Chunks of the edges to update, cut alike, so that a round's results are the next one's parts.
    """

    edges: EdgeLayout
    messages: tuple[Chunk, ...]
    new_edges: EdgeLayout
    updates: tuple[Chunk, ...]


@dataclass(frozen=True)
class RoundPlan:
    """One round: nodes as they come in and as they leave, and each direction's share."""

    nodes: NodeLayout
    new_nodes: NodeLayout
    directions: tuple[DirectionPlan, ...]


@dataclass(frozen=True)
class Plan:
    """All rounds, in order, for these buckets."""

    buckets: tuple[Bucket, ...]
    rounds: tuple[RoundPlan, ...]


@lru_cache(maxsize=256)
def plan_rounds(buckets: tuple[Bucket, ...], options: PlanOptions) -> Plan:
    """Plan all rounds backwards from what is read at the end."""
    ends = {
        (index, position): ((index, block.source), (index, block.target))
        for index, bucket in enumerate(buckets)
        for position, block in enumerate(bucket.structure.blocks)
    }
    nodes = {
        (index, position)
        for index, bucket in enumerate(buckets)
        for position, group in enumerate(bucket.structure.groups)
        if _is_read(group.role, options)
    }
    num_directions = 2 if options.is_bidirectional else 1
    edges: list[set[EdgeKey]] = [set() for _ in range(num_directions)]
    if options.reads == "weights":
        edges[0] = {key for key in ends if buckets[key[0]].structure.blocks[key[1]].is_written}
    keys: list[tuple[set[NodeKey], list[set[EdgeKey]], list[set[EdgeKey]]]] = [(nodes, edges, [])]
    for _ in range(options.num_rounds):
        nodes, edges, messages = _needed_before(nodes, edges, ends, options)
        keys.append((nodes, edges, messages))
    return Plan(buckets, _lay_out(buckets, keys[::-1], options))


def _is_read(role: str, options: PlanOptions) -> bool:
    if options.reads == "last_layer":
        return role == "output" or (role == "input" and options.is_bidirectional)
    return role != "input" or options.reads == "full_graph"


def _needed_before(
    nodes: set[NodeKey],
    edges: list[set[EdgeKey]],
    ends: dict[EdgeKey, tuple[NodeKey, NodeKey]],
    options: PlanOptions,
) -> tuple[set[NodeKey], list[set[EdgeKey]], list[set[EdgeKey]]]:
    """Nodes and edges needed before a round that makes ``nodes`` and ``edges``, and the edges with messages in it."""
    needed, before, messages = set(nodes), [], []
    for direction, updated in enumerate(edges):
        receiving = {key for key, end in ends.items() if end[1 - direction] in nodes}
        needed |= {ends[key][direction] for key in receiving}
        if direction == 0 or options.updates_backward_edges:
            needed |= {node for key in updated for node in ends[key]}
        messages.append(receiving)
        before.append(receiving | updated)
    return needed, before, messages


def _lay_out(
    buckets: Sequence[Bucket],
    keys: Sequence[tuple[set[NodeKey], list[set[EdgeKey]], list[set[EdgeKey]]]],
    options: PlanOptions,
) -> tuple[RoundPlan, ...]:
    node_layouts = [NodeLayout.build(buckets, nodes) for nodes, _, _ in keys]
    num_directions = len(keys[0][1])
    edge_layouts = [
        [
            EdgeLayout.build(buckets, keys[_edge_step(step, direction, options)][1][direction], direction == 1)
            for direction in range(num_directions)
        ]
        for step in range(len(keys))
    ]
    rounds = []
    for step in range(options.num_rounds):
        directions = []
        for direction in range(num_directions):
            old, new = edge_layouts[step][direction], edge_layouts[step + 1][direction]
            is_static = direction == 1 and not options.updates_backward_edges
            directions.append(
                DirectionPlan(
                    edges=old,
                    messages=old.chunks(keys[step][2][direction], options.max_rows),
                    new_edges=new,
                    updates=() if is_static else old.chunks(new.by_key, options.max_rows),
                )
            )
        rounds.append(RoundPlan(node_layouts[step], node_layouts[step + 1], tuple(directions)))
    return tuple(rounds)


def _edge_step(step: int, direction: int, options: PlanOptions) -> int:
    """The step whose edges are kept at ``step``: static edges stay as they are at first."""
    return 0 if direction == 1 and not options.updates_backward_edges else step

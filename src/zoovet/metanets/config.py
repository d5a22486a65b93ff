"""How a ScaleGMN is built: the options, and the deviations from the mathematics that released checkpoints need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from zoovet.errors import ZoovetError, nearest
from zoovet.evidence.inversion_config import InversionConfig
from zoovet.metanets.graph_structure import graph_structure
from zoovet.networks.graph import Graph

__all__ = ["ReleasedBehaviour", "ScaleGMNConfig", "require_chain"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "direction": ("forward", "bidirectional"),
    "symmetry": ("mixed", "scale", "sign", "permutation"),
    "output": ("graph", "weights"),
    "readout": ("last_layer", "full_graph", "pooled_outputs"),
    "num_message_mlps": (2, 3),
    "num_update_mlps": (2, 3),
}
_AT_LEAST_ONE = ("width", "num_layers", "num_outputs", "max_inputs", "max_depth", "max_outputs")


@dataclass(frozen=True, kw_only=True)
class ScaleGMNConfig:
    """Configuration of :class:`~zoovet.metanets.scalegmn.ScaleGMN`.

    Attributes:
        kind: Which metanetwork.
        width: Features of a node and of an edge.
        num_layers: Rounds of message passing.
        direction: ``forward``: messages run along the edges; ``bidirectional``: against them as well.
        symmetry: ``mixed``: every hidden group by its own activation and pooling; ``scale`` or ``sign``: only
            networks of that symmetry are accepted; ``permutation``: plain MLPs, for any network.
        output: ``graph``: numbers for the whole network; ``weights``: a change of every weight and bias.
        num_outputs: Numbers for the whole network (``output="graph"``).
        hidden_width: Hidden width of all MLPs; ``None`` means ``width``.
        layer_norm: LayerNorm in the MLPs.
        dropout: Probability with which a node feature is dropped between rounds, in training.
        mlp_dropout: The same for the hidden features of the MLPs.
        skip_connections: Add a linear map of a node's old features to its new ones.
        readout: ``last_layer``: read the output nodes (bidirectional: the input nodes too); ``full_graph``: the sum
            over all hidden nodes as well; ``pooled_outputs``: the output nodes both in order and as a set. Only
            for ``output="graph"``.
        standardize_readout: Standardize what the readout's last MLP reads over the networks of a batch (evaluation: by
            running statistics). Networks that share their initialization differ by less than a thousandth there, and
            cannot be told apart without it. Only for ``output="graph"``.
        symmetrize: Canonicalize signs by ρ(x) + ρ(−x) instead of |x|.
        mlp_on_io: Plain MLPs for messages to and updates of input and output nodes, instead of only as a factor.
        num_message_mlps: 2: one MLP for messages to input and output nodes together; 3: one for each.
        num_update_mlps: The same for their updates.
        sum_on_io: Add the positional embeddings of input and output nodes instead of multiplying with them.
        edge_embedding: Positional embeddings of edges.
        message_embedding: Give messages the positional embedding of a node.
        update_embedding: Give updates the positional embedding of their node.
        max_inputs: Rows of the tables that tell input channels apart. Larger networks are read too: beyond its rows, a
            table is interpolated (:mod:`zoovet.metanets.tables`).
        max_depth: The same for hidden layers.
        max_outputs: The same for output channels.
        tell_outputs_apart: Whether each output channel has a row of its own. Where not, all share one, so that a change
            (``output="weights"`` alone) follows the classes however they are numbered, and fewer networks teach it.
        max_kernel: Largest kernel (height, width), or map that a linear layer reads flattened, that is read number by
            number; larger ones are averaged over areas.
        out_scale: Initial scale of the weight changes (``output="weights"``).
        num_node_features: Further features of every node that the caller hands in with the networks.
        num_probes: Learned probe inputs, whose activations are node features too; 0 for none.
        inversion: Which evidence is read beside the weights, found out by seeking patches and changes; ``None`` for
            none.
        input_shape: Shape of what networks read, for probes and inversion; training fills it in where it is left out.

    Raises:
        ZoovetError: A value is not allowed; the message names the field, the value and what is allowed.
    """

    kind: Literal["scalegmn"] = "scalegmn"
    width: int = 64
    num_layers: int = 4
    direction: Literal["forward", "bidirectional"] = "bidirectional"
    symmetry: Literal["mixed", "scale", "sign", "permutation"] = "mixed"
    output: Literal["graph", "weights"] = "graph"
    num_outputs: int = 1
    hidden_width: int | None = None
    layer_norm: bool = True
    dropout: float = 0.0
    mlp_dropout: float = 0.0
    skip_connections: bool = True
    readout: Literal["last_layer", "full_graph", "pooled_outputs"] = "full_graph"
    standardize_readout: bool = False
    symmetrize: bool = True
    mlp_on_io: bool = True
    num_message_mlps: Literal[2, 3] = 3
    num_update_mlps: Literal[2, 3] = 3
    sum_on_io: bool = True
    edge_embedding: bool = False
    message_embedding: bool = False
    update_embedding: bool = False
    max_inputs: int = 8
    max_depth: int = 8
    max_outputs: int = 16
    tell_outputs_apart: bool = True
    max_kernel: tuple[int, int] = (16, 16)
    out_scale: float = 0.01
    num_node_features: int = 0
    num_probes: int = 0
    inversion: InversionConfig | None = None
    input_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ZoovetError(f"{name} {value!r} is unknown{nearest(str(value), map(str, known))}")
        for name in _AT_LEAST_ONE:
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("dropout", "mlp_dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and below 1")
        _require(self.hidden_width is None or self.hidden_width >= 1, "hidden_width", self.hidden_width, "at least 1")
        fits = len(self.max_kernel) == 2 and min(self.max_kernel) >= 1
        _require(fits, "max_kernel", self.max_kernel, "(height, width) of at least 1")
        _require(self.num_node_features >= 0, "num_node_features", self.num_node_features, "at least 0")
        _require(self.num_probes >= 0, "num_probes", self.num_probes, "at least 0")
        shape = self.input_shape
        is_shape = shape is None or (len(shape) in (1, 3) and min(shape) >= 1)
        _require(is_shape, "input_shape", self.input_shape, "(channels, height, width) or (features,)")
        tells = self.tell_outputs_apart or self.output == "weights"
        _require(tells, "tell_outputs_apart", False, 'true, unless output is "weights"')
        _require(self.out_scale > 0, "out_scale", self.out_scale, "above 0")

    def with_input_shape(self, graphs: Iterable[Graph]) -> ScaleGMNConfig:
        """The same configuration with what networks of these graphs read as ``input_shape``, where it was left out.

        Raises:
            ZoovetError: Probes or inversion need the shape, and the networks read several; or they are asked for what
                is known of layers one after another only.
        """
        graphs = list(graphs)
        for graph in graphs:
            if self.num_probes or (self.inversion is not None and self.inversion.gradients):
                require_chain(graph)
        shapes = {graph.input_shape for graph in graphs}
        if self.input_shape is not None or not (self.num_probes or self.inversion):
            return self
        if len(shapes) != 1:
            raise ZoovetError(
                f"probes and inversion need networks that read inputs of one shape, got {sorted(shapes)}; set "
                f"num_probes to 0 and inversion to null"
            )
        return replace(self, input_shape=shapes.pop())

    @property
    def num_output_rows(self) -> int:
        """Rows of the tables of output channels."""
        return self.max_outputs if self.tell_outputs_apart else 1

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLPs."""
        return self.width if self.hidden_width is None else self.hidden_width

    @property
    def is_bidirectional(self) -> bool:
        """Whether messages run against the edges too."""
        return self.direction == "bidirectional"

    @classmethod
    def for_graphs(cls, graphs: Iterable[Graph], **options: Any) -> ScaleGMNConfig:
        """A configuration that has room for these graphs and no more; all else as in ``options``.

        Args:
            graphs: What the networks will be.
            options: Further fields of the configuration.

        Returns:
            The configuration, with ``max_inputs``, ``max_depth``, ``max_outputs`` and ``max_kernel`` from the graphs.
        """
        graphs = list(graphs)
        if not graphs:
            raise ZoovetError("for_graphs needs at least one graph, got none")
        structures = [graph_structure(graph) for graph in graphs]
        kernels = [block.kernel or (1, 1) for structure in structures for block in structure.blocks]
        room: dict[str, Any] = {
            "max_inputs": max(structure.groups[0].size for structure in structures),
            "max_depth": max(1, *(structure.num_hidden_depths for structure in structures)),
            "max_outputs": max(structure.groups[structure.output].size for structure in structures),
            "max_kernel": (max(kernel[0] for kernel in kernels), max(kernel[1] for kernel in kernels)),
        }
        return cls(**(room | options))


@dataclass(frozen=True, kw_only=True)
class ReleasedBehaviour:
    """What the released code computes otherwise than the mathematics. The defaults are the mathematics.

    Only :mod:`zoovet.metanets.official` sets anything else here, for agreement with released checkpoints.

    Attributes:
        norm_constant: Added to the norm in the scale canonicalization.
        unit_norm: Scale canonicalization to unit vectors instead of vectors whose features have the mean square 1.
        input_feature: Feature of the input nodes, which have no bias.
        forward_edges_backward: Run the features of the forward edges against the edges. They start as the projected
            forward ones; only scale models update them.
        released_output_edges: Give the last layer's edges the released order of embeddings.
        one_number_per_edge: Weight output: one number an edge, without kernel axes, instead of a kernel.
        symmetry_from_activation: Symmetry of a network from its activation alone, whatever its pooling.
        branches: Canonicalizations of a mixed model.
    """

    norm_constant: float = 0.0
    unit_norm: bool = False
    input_feature: float = 1.0
    forward_edges_backward: bool = False
    released_output_edges: bool = False
    one_number_per_edge: bool = False
    symmetry_from_activation: bool = False
    branches: tuple[str, ...] = ("scale", "sign", "permutation")


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
    if not condition:
        raise ZoovetError(f"{name} must be {expected}, got {value!r}")


def require_chain(graph: Graph) -> Graph:
    """The graph, of which probes and gradients are to be read.

    Raises:
        ZoovetError: It is no chain.
    """
    if not graph.is_chain:
        raise ZoovetError(
            f"probes, and inversion's gradients, are of layers one after another only, got {graph.in_words()}; set "
            f"num_probes to 0 and inversion.gradients to false"
        )
    return graph

"""The permutation-only graph metanetwork as a detector: it reads weights and nothing else, and knows of no scalings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from zoovet.metanets import ScaleGMNConfig
from zoovet.networks import Graph
from zoovet.rivals.fitting import TrainedRival, TrainedRivalConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.metanetworks import build_in_units
from zoovet.zoo import Zoo

__all__ = ["PermutationConfig", "PermutationDetector"]


@dataclass(frozen=True, kw_only=True)
class PermutationConfig(TrainedRivalConfig):
    """How the metanetwork is built and trained; see also :class:`TrainedRivalConfig`.

    Attributes:
        width: Features of a node and of an edge.
        num_layers: Rounds of message passing.
        direction: Whether messages run along the edges only, or against them too.
        readout: What is read in the end; see :class:`~zoovet.metanets.ScaleGMNConfig`.
        standardize_readout: Whether the readout's last MLP reads features that are standardized over a batch.
        layer_units: Whether each layer's numbers are read in units of their size in the training networks.

    Raises:
        ZoovetError: A value out of its range.
    """

    max_steps: int = 800
    learning_rate: float = 3e-3
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(kernel_symmetries=True))
    width: int = 32
    num_layers: int = 3
    direction: Literal["forward", "bidirectional"] = "forward"
    readout: Literal["last_layer", "full_graph", "pooled_outputs"] = "pooled_outputs"
    standardize_readout: bool = True
    layer_units: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        ScaleGMNConfig(**self._options())

    def metanetwork(self, graphs: Sequence[Graph]) -> ScaleGMNConfig:
        """The metanetwork's configuration, with room for these graphs."""
        return ScaleGMNConfig.for_graphs(graphs, **self._options())

    def _options(self) -> dict[str, Any]:
        names = ("width", "num_layers", "direction", "readout", "standardize_readout")
        return {"symmetry": "permutation"} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class PermutationDetector(TrainedRival):
    """One metanetwork on networks of every graph of the zoo, invariant to permutations of hidden neurons.

    Sources: Kofinas, Knyazev, Zhang, Chen, Burghouts, Gavves, Snoek and Zhang 2024, *Graph Neural Networks for Learning
    Equivariant Representations of Neural Networks*; Lim, Maron, Law, Lorraine and Lucas 2024, *Graph Metanetworks for
    Processing Diverse Neural Architectures*.
    """

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0, config: PermutationConfig | None = None) -> PermutationDetector:
        """Train on a zoo's training split; validation chooses the step and the threshold.

        Args:
            zoo: The zoo, opened; its test split is not read.
            seed: Of initial values, batches and augmentation, at least 0.
            config: How; the default where left out.

        Raises:
            ZoovetError: The zoo has no poisoned networks, a split lacks healthy or trojaned ones, or validation
                networks are of a graph that no training network has.
        """
        settings = config or PermutationConfig()

        def build(graphs: Sequence[Graph]) -> nn.Module:
            return build_in_units(
                settings.metanetwork(graphs), graphs, settings.layer_units, seed, "permutation detector"
            )

        return cls._trained(zoo, settings, seed, build)

"""NFN as a detector: layers that are equivariant to permutations of neurons, from the package of their authors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.metanets.layer_units import LayerUnits
from zoovet.metanets.readout import StandardizedFeatures
from zoovet.networks import Graph, Networks
from zoovet.rivals.fitting import TrainedRival, TrainedRivalConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.random_streams import seeded_modules
from zoovet.tasks.vetting import as_batches
from zoovet.zoo import Zoo

__all__ = ["NFNConfig", "NFNDetector", "NFNModel"]


@dataclass(frozen=True, kw_only=True)
class NFNConfig(TrainedRivalConfig):
    """How the functional is built and trained; see also :class:`TrainedRivalConfig`.

    Attributes:
        num_channels: Features of a weight and of a bias.
        num_layers: Equivariant layers.
        head_width: Hidden features of the invariant head.

    Raises:
        ZoovetError: A value out of its range.
    """

    max_steps: int = 600
    batch_size: int = 32
    augmentation: AugmentationConfig = field(default_factory=lambda: AugmentationConfig(kernel_symmetries=True))
    num_channels: int = 16
    num_layers: int = 3
    head_width: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_channels", "num_layers", "head_width"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")


class NFNModel(nn.Module):
    """HNP layers with ReLU, means over hidden neurons, and an MLP on them.

    Hidden neurons are permutable; inputs, outputs and the places of a kernel are told apart. What the means give is
    standardized over a batch.

    Args:
        graph: What the networks are; others of the same shapes can be read too.
        config: Its configuration.

    Raises:
        ZoovetError: The package ``nfn`` is not installed, or networks of fewer than two layers.
    """

    def __init__(self, graph: Graph, config: NFNConfig) -> None:
        super().__init__()
        common, layers = _package()
        if len(graph.chain.layers) < 2:
            raise ZoovetError(f"NFN needs networks of at least two layers, got {graph.describe()}")
        example = Networks.from_flat(graph, torch.zeros(1, graph.num_parameters))
        self._features = common.WeightSpaceFeatures
        shapes = common.network_spec_from_wsfeat(self._as_features(example))
        equivariant: list[nn.Module] = []
        for index in range(config.num_layers):
            num_inputs = config.num_channels if index else 1
            equivariant += [layers.HNPLinear(shapes, num_inputs, config.num_channels), layers.TupleOp(nn.ReLU())]
        self.equivariant = nn.Sequential(*equivariant, layers.HNPPool(shapes))
        num_pooled = config.num_channels * layers.HNPPool.get_num_outs(shapes)
        self.head = nn.Sequential(
            StandardizedFeatures(num_pooled),
            nn.Linear(num_pooled, config.head_width),
            nn.ReLU(),
            nn.Linear(config.head_width, 1),
        )

    def forward(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Logits [B, 1] of networks, in the order of the batches."""
        batches = as_batches(networks)
        pooled = torch.cat([self.equivariant(self._as_features(batch)).flatten(1) for batch in batches])
        logits: Tensor = self.head(pooled)
        return logits

    def _as_features(self, networks: Networks) -> object:
        """Weights [B, 1, out, in, *kernel] and biases [B, 1, out] as the package has them."""
        return self._features(*([tensor[:, None] for tensor in kind] for kind in (networks.weights, networks.biases)))


@dataclass(frozen=True)
class NFNDetector(TrainedRival):
    """One functional on networks of every graph of the zoo, which must agree in their shapes.

    Source: Zhou, Yang, Burns, Cardace, Jiang, Sokota, Kolter and Finn 2023, *Permutation Equivariant Neural
    Functionals*, section 2 (HNP: inputs and outputs are not permuted), as the package ``nfn`` computes it.
    """

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0, config: NFNConfig | None = None) -> NFNDetector:
        """Train on a zoo's training split; validation chooses the step and the threshold.

        Args:
            zoo: The zoo, opened; its test split is not read.
            seed: Of initial values, batches and augmentation, at least 0.
            config: How; the default where left out.

        Raises:
            ZoovetError: The package ``nfn`` is not installed, the zoo has no poisoned networks, a split lacks healthy
                or trojaned ones, or its networks have several shapes or fewer than two layers.
        """
        settings = config or NFNConfig()

        def build(graphs: Sequence[Graph]) -> nn.Module:
            if len({graph.chain.weight_shapes for graph in graphs}) > 1:
                raise ZoovetError(
                    f"NFN needs networks of one shape, got {len(graphs)} graphs whose shapes differ; use a zoo of one "
                    "architecture"
                )
            with seeded_modules(seed, "initial weights of the NFN detector"):
                return LayerUnits(NFNModel(graphs[0], settings), len(graphs[0].chain.layers))

        return cls._trained(zoo, settings, seed, build)


def _package() -> tuple[ModuleType, ModuleType]:
    """The package's rooms ``common`` and ``layers``, imported only where they are needed.

    Raises:
        ZoovetError: It is not installed.
    """
    try:
        from nfn import common, layers
    except ImportError as error:
        raise ZoovetError(
            f"the NFN detector needs the package nfn, which is not installed ({error}); install it with "
            "`pip install 'zoovet[nfn]'`"
        ) from error
    return common, layers

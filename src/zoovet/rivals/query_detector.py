"""MNTD: learned queries whose answers tell trojaned networks from healthy ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, run
from zoovet.rivals.fitting import (
    LabelledNetworks,
    TrainedRivalConfig,
    chosen_threshold,
    probabilities,
    train_model,
)
from zoovet.tasks.population import load_populations
from zoovet.tasks.vetting import as_batches
from zoovet.zoo import Zoo

__all__ = ["QueryConfig", "QueryDetector", "QueryModel"]


@dataclass(frozen=True, kw_only=True)
class QueryConfig(TrainedRivalConfig):
    """How the queries and the classifier of their answers are trained; see also :class:`TrainedRivalConfig`.

    Attributes:
        num_queries: Made-up images that every network is asked about.
        width: Hidden features of the classifier.
    """

    num_queries: int = 10
    width: int = 64


class QueryModel(nn.Module):
    """Learned query images, and an MLP on the networks' answers to them."""

    def __init__(
        self, config: QueryConfig, input_shape: tuple[int, ...], num_outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.num_queries, *input_shape, generator=generator))
        self.first = nn.Linear(config.num_queries * num_outputs, config.width)
        self.last = nn.Linear(config.width, 1)
        for layer in (self.first, self.last):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, networks: Sequence[Networks]) -> Tensor:
        """Logits [B, 1] of networks, in the order of the batches."""
        answers = torch.cat([run(batch, self.queries).flatten(1) for batch in networks])
        scores: Tensor = self.last(functional.relu(self.first(answers)))
        return scores


@dataclass(frozen=True)
class QueryDetector:
    """Queries and classifier trained together; the variety of trojans ("jumbo" training) is the zoo's.

    Source: Xu, Wang, Li, Borisov, Gunter and Li 2021, *Detecting AI Trojans Using Meta Neural Analysis*, section 5
    (MNTD with query tuning).

    Attributes:
        model: Trained.
        threshold: Probability from which a network is flagged.
    """

    model: QueryModel
    threshold: float

    @classmethod
    def fit(cls, zoo: Zoo, *, seed: int = 0, config: QueryConfig | None = None) -> QueryDetector:
        """Train on a zoo's training split; validation chooses the step and the threshold.

        Args:
            zoo: The zoo, opened; its test split is not read.
            seed: Of initial values and batches.
            config: How; the default where left out.

        Raises:
            ZoovetError: The zoo has no poisoned networks, a split lacks healthy or trojaned ones, or its networks read
                or answer in different shapes.
        """
        config = config or QueryConfig()
        train, held_out = load_populations(zoo)
        forms = {(graph.input_shape, graph.num_outputs) for graph in train.graphs + held_out.graphs}
        if len(forms) > 1:
            raise ZoovetError(f"queries need networks of one input shape and number of outputs, got {sorted(forms)}")
        model = QueryModel(config, *forms.pop(), torch.Generator().manual_seed(seed))
        validation = LabelledNetworks.of(held_out)
        train_model(model, config, train, validation, seed=seed)
        return cls(model, chosen_threshold(probabilities(model, validation.networks), validation))

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks."""
        return probabilities(self.model, as_batches(networks))

"""MNTD: learned queries whose answers tell trojaned networks from healthy ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, forward
from zoovet.rivals.fitting import LabelledNetworks, chosen_threshold, training_and_validation
from zoovet.zoo import Zoo

__all__ = ["QueryConfig", "QueryDetector", "QueryModel"]


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """How the queries and the classifier of their answers are trained.

    Attributes:
        num_queries: Made-up images that every network is asked about.
        width: Hidden features of the classifier.
        max_steps: Optimizer steps.
        batch_size: Networks a step.
        learning_rate: Adam's.
        validation_interval: Steps between validations, of which the best one is kept.
    """

    num_queries: int = 10
    width: int = 64
    max_steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-3
    validation_interval: int = 50


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
        """Logits [B] of networks, in the order of the batches."""
        answers = torch.cat([forward(batch, self.queries).flatten(1) for batch in networks])
        scores: Tensor = self.last(functional.relu(self.first(answers)))
        return scores.squeeze(1)


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
        train, validation = training_and_validation(zoo)
        forms = {(batch.spec.input_shape, batch.spec.num_outputs) for batch in train.networks + validation.networks}
        if len(forms) > 1:
            raise ZoovetError(f"queries need networks of one input shape and number of outputs, got {sorted(forms)}")
        model = QueryModel(config, *forms.pop(), torch.Generator().manual_seed(seed))
        _train(model, config, train, validation, torch.Generator().manual_seed(seed + 1))
        fitted = cls(model.requires_grad_(False), 0.5)
        return cls(model, chosen_threshold(fitted.score(validation.networks), validation))

    def score(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of a trojan: float32 [B], in the order of the networks."""
        with torch.no_grad():
            logits: Tensor = self.model([networks] if isinstance(networks, Networks) else networks)
        return torch.sigmoid(logits)


def _train(
    model: QueryModel,
    config: QueryConfig,
    train: LabelledNetworks,
    validation: LabelledNetworks,
    generator: torch.Generator,
) -> None:
    """Train in place; the model ends as it was at the best validation."""
    starts = torch.tensor([0, *(len(batch) for batch in train.networks)]).cumsum(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    best, best_auc = copy.deepcopy(model.state_dict()), -1.0
    for step in range(config.max_steps):
        chosen = torch.randperm(len(train.trojaned), generator=generator)[: config.batch_size].sort().values
        parts = [
            batch[chosen[(chosen >= start) & (chosen < start + len(batch))] - start]
            for batch, start in zip(train.networks, starts.tolist(), strict=False)
        ]
        logits = model([part for part in parts if len(part)])
        loss = functional.binary_cross_entropy_with_logits(logits, train.trojaned[chosen].to(logits))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % config.validation_interval == 0 or step + 1 == config.max_steps:
            with torch.no_grad():
                auc = float(roc_auc_score(validation.trojaned.numpy(), model(validation.networks).numpy()))
            if auc > best_auc:
                best, best_auc = copy.deepcopy(model.state_dict()), auc
    model.load_state_dict(best)

"""StatNN: gradient-boosted trees on statistics of the weights, the rival that every metanetwork has to beat.

Source: Unterthiner et al. 2020, *Predicting Neural Network Accuracy from Weights*, section 4.2: mean, variance and
the quantiles 0, 25, 50, 75 and 100 % of each layer's weights and of its biases. There is nothing to load from a file:
it is fitted in seconds, always to the same trees for the same networks, labels and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.graph import Graph
from zoovet.networks.layer_spec import ACTIVATIONS

__all__ = ["StatNN", "StatNNConfig", "statistic_names", "tree_features", "weight_statistics"]

_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
_NUM_STATISTICS = 2 + len(_QUANTILES)
_MAX_QUANTILE_INPUT = 2**23
"""Numbers that go through ``torch.quantile`` at once; it refuses more than 2²⁴."""


def weight_statistics(networks: Networks) -> Tensor:
    """Statistics of each layer's weights and biases.

    Args:
        networks: B networks of one graph.

    Returns:
        [B, layers × 14], float32 or float64 as the networks: for each layer mean, variance (divided by the count) and
        the quantiles 0, 25, 50, 75, 100 % of its weights, then the same seven of its biases.
        :func:`statistic_names` names the columns.
    """
    parts = [
        _statistics(tensor.flatten(1))
        for pair in zip(networks.weights, networks.biases, strict=True)
        for tensor in pair
    ]
    return torch.cat(parts, dim=1)


def tree_features(networks: Networks | Sequence[Networks]) -> npt.NDArray[np.float64]:
    """What trees read of networks: statistics, then a column an activation that says whether the network has it.

    Args:
        networks: B networks, or batches of several graphs that have equally many layers.

    Returns:
        float64 [B, F], in the order of the networks.

    Raises:
        ZoovetError: No networks, or networks with different numbers of layers.
    """
    _num_layers(networks)
    parts = []
    for batch in _as_list(networks):
        activations = {layer.activation for layer in batch.graph.chain.layers[:-1]}
        marks = torch.tensor([float(name in activations) for name in ACTIVATIONS], dtype=torch.float64)
        statistics = weight_statistics(batch).detach().cpu().double()
        parts.append(torch.cat([statistics, marks.expand(len(batch), -1)], dim=1))
    features: npt.NDArray[np.float64] = torch.cat(parts).numpy()
    return features


def statistic_names(graph: Graph) -> tuple[str, ...]:
    """Names of the columns of :func:`weight_statistics`: ``layer 0 weight mean``, …."""
    statistics = ("mean", "variance", *(f"quantile {quantile:g}" for quantile in _QUANTILES))
    return tuple(
        f"layer {layer} {tensor} {statistic}"
        for layer in range(len(graph.chain.layers))
        for tensor in ("weight", "bias")
        for statistic in statistics
    )


@dataclass(frozen=True, kw_only=True)
class StatNNConfig:
    """Settings of the trees.

    Attributes:
        num_trees: Most trees to grow; with validation networks the number is chosen among 1 … num_trees.
        max_leaf_nodes: Leaves of a tree, at least 2 each; with validation networks one of them is chosen, without the
            first is taken.
        learning_rate: Weight of each tree, above 0.
        min_samples_leaf: Networks in a leaf, at least 1.
        seed: Seed of the trees.

    Raises:
        ZoovetError: A value out of its range.
    """

    num_trees: int = 400
    max_leaf_nodes: tuple[int, ...] = (8, 4, 31)
    learning_rate: float = 0.05
    min_samples_leaf: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_trees < 1 or self.min_samples_leaf < 1 or not self.learning_rate > 0:
            raise ZoovetError(
                "StatNN needs num_trees and min_samples_leaf of at least 1 and a learning_rate above 0, got "
                f"{self.num_trees}, {self.min_samples_leaf} and {self.learning_rate}"
            )
        if not self.max_leaf_nodes or min(self.max_leaf_nodes) < 2:
            raise ZoovetError(f"max_leaf_nodes must list numbers of at least 2, got {self.max_leaf_nodes}")


class StatNN:
    """Gradient-boosted trees that tell two kinds of networks apart by their weight statistics.

    Networks of several graphs go together when they have equally many layers; which activations a network has is told
    to the trees beside the statistics.

    Args:
        config: Settings; the defaults where left out.
    """

    def __init__(self, config: StatNNConfig | None = None) -> None:
        self.config = config or StatNNConfig()
        self._trees: HistGradientBoostingClassifier | None = None
        self._num_layers = 0
        self._num_trees = 0

    def fit(
        self,
        networks: Networks | Sequence[Networks],
        labels: Tensor,
        validation: tuple[Networks | Sequence[Networks], Tensor] | None = None,
    ) -> StatNN:
        """Grow the trees.

        Args:
            networks: B networks, or batches of several graphs.
            labels: [B] booleans or 0 and 1, in the order of the networks.
            validation: Other networks and their labels, on which the number of trees and of their leaves are chosen (by
                the area under the ROC curve); ``None`` takes the config's as they are.

        Returns:
            Itself.

        Raises:
            ZoovetError: Labels of one kind only, or of another number than the networks; networks that do not go
                together.
        """
        self._num_layers = _num_layers(networks)
        features, targets = tree_features(networks), _targets(labels, networks, "training")
        if validation is None:
            self._trees, self._num_trees = (
                self._grow(features, targets, self.config.max_leaf_nodes[0]),
                self.config.num_trees,
            )
            return self
        held_features, held_targets = (
            tree_features(validation[0]),
            _targets(validation[1], validation[0], "validation"),
        )
        best_auc = -1.0
        for leaves in self.config.max_leaf_nodes:
            trees = self._grow(features, targets, leaves)
            scores = np.stack([stage[:, 1] for stage in trees.staged_predict_proba(held_features)])
            aucs = _areas(scores, held_targets)
            first = int(aucs.argmax())
            if aucs[first] > best_auc:
                best_auc, self._trees, self._num_trees = float(aucs[first]), trees, first + 1
        return self

    def predict_proba(self, networks: Networks | Sequence[Networks]) -> Tensor:
        """Probability of label 1: float32 [B], in the order of the networks.

        Raises:
            ZoovetError: Not fitted yet, or networks with another number of layers than those it was fitted on.
        """
        if self._trees is None:
            raise ZoovetError("this StatNN has seen no networks yet; call fit first")
        if _num_layers(networks) != self._num_layers:
            raise ZoovetError(
                f"this StatNN was fitted on networks of {self._num_layers} layers, got some of {_num_layers(networks)}"
            )
        stages = self._trees.staged_predict_proba(tree_features(networks))
        scores = next(scores for number, scores in enumerate(stages, start=1) if number == self._num_trees)
        return torch.from_numpy(scores[:, 1].astype(np.float32))

    def _grow(
        self, features: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], max_leaf_nodes: int
    ) -> HistGradientBoostingClassifier:
        trees = HistGradientBoostingClassifier(
            learning_rate=self.config.learning_rate,
            max_iter=self.config.num_trees,
            max_leaf_nodes=max_leaf_nodes,
            min_samples_leaf=self.config.min_samples_leaf,
            early_stopping=False,
            random_state=self.config.seed,
        )
        return trees.fit(features, targets)


def _areas(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """[stages, B] scores → areas under the ROC curve [stages]: how often a 1 is scored above a 0, ties half."""
    is_one = targets == 1
    num_ones = int(is_one.sum())
    above = rankdata(scores, axis=1)[:, is_one].sum(axis=1) - num_ones * (num_ones + 1) / 2
    areas: npt.NDArray[np.float64] = above / (num_ones * (len(targets) - num_ones))
    return areas


def _as_list(networks: Networks | Sequence[Networks]) -> list[Networks]:
    return [networks] if isinstance(networks, Networks) else list(networks)


def _num_layers(networks: Networks | Sequence[Networks]) -> int:
    numbers = {len(batch.graph.chain.layers) for batch in _as_list(networks)}
    if len(numbers) != 1:
        found = " and ".join(map(str, sorted(numbers))) or "no"
        raise ZoovetError(f"StatNN needs networks that all have the same number of layers, got {found} layers")
    return numbers.pop()


def _targets(labels: Tensor, networks: Networks | Sequence[Networks], which: str) -> npt.NDArray[np.int64]:
    num_networks = sum(map(len, _as_list(networks)))
    if labels.shape != (num_networks,):
        raise ZoovetError(f"{num_networks} {which} networks need as many labels, got the shape {list(labels.shape)}")
    targets: npt.NDArray[np.int64] = labels.cpu().numpy().astype(np.int64)
    if set(targets.tolist()) != {0, 1}:
        raise ZoovetError(f"the {which} labels must hold both 0 and 1, got {sorted(set(targets.tolist()))}")
    return targets


def _statistics(values: Tensor) -> Tensor:
    """[B, n] → [B, 7]: mean, variance, quantiles."""
    quantiles = torch.tensor(_QUANTILES, dtype=values.dtype, device=values.device)
    num_rows = max(1, _MAX_QUANTILE_INPUT // values.shape[1])
    parts = [torch.quantile(rows, quantiles, dim=1).T for rows in torch.split(values, num_rows)]
    moments = torch.stack([values.mean(dim=1), values.var(dim=1, correction=0)], dim=1)
    statistics = torch.cat([moments, torch.cat(parts)], dim=1)
    assert statistics.shape[1] == _NUM_STATISTICS
    return statistics

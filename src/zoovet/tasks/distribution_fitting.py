"""Fitting a training distribution to the networks of a zoo; apart from its use, which needs no scikit-learn.

Networks to compare with are the validation networks, and the training networks, each fifth of them under a fit to the
others. Validation networks alone are some hundred a graph in a usual zoo: the one farthest of all would say alone what
is far.

Sources: Ledoit and Wolf 2004, *A well-conditioned estimator for large-dimensional covariance matrices*; Vovk 2015,
*Cross-conformal predictors*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from scipy.stats import t as student
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from zoovet.networks import Graph, Networks
from zoovet.tasks.invariant_statistics import invariant_statistics
from zoovet.tasks.network_pool import NetworkPool
from zoovet.tasks.training_distribution import LEVEL, GraphDistribution, PartDistribution, TrainingDistribution

__all__ = ["fit_training_distribution"]

_NUM_FOLDS = 5
_SMALLEST_SCALE = 0.1
"""A statistic that varies less among the training networks counts as varying by this much."""
_NOISE = 0.01
"""Added to every bounded deviation's variance."""

Statistics = dict[str, Tensor]


def fit_training_distribution(train: NetworkPool, validation: NetworkPool) -> TrainingDistribution:
    """Fit to training networks, and find what is far by networks that did not take part in the fit.

    Args:
        train: Training networks, healthy and trojaned alike. Those of one base are never on two sides of a fit.
        validation: Validation networks; graphs that are not among the training networks' do not count.

    Returns:
        The distribution of every graph among ``train``. Where there is nothing to compare with, every score is 1.
    """
    held_out = {graph: statistics for graph, statistics, _ in _by_graph(validation)}
    return TrainingDistribution(
        {graph: _fitted(statistics, bases, held_out.get(graph)) for graph, statistics, bases in _by_graph(train)}
    )


def _by_graph(pool: NetworkPool) -> list[tuple[Graph, Statistics, Tensor]]:
    """Every graph that occurs, its networks' statistics and the bases that they descend from, int64 [n]."""
    found = []
    for graph_index, graph in enumerate(pool.graphs):
        places = torch.nonzero(pool.graph_of == graph_index).flatten()
        if len(places):
            networks = Networks.from_flat(graph, pool.weights[graph_index].cpu()[pool.row_of[places]])
            found.append((graph, invariant_statistics(networks), pool.base_of[places]))
    return found


def _fitted(statistics: Statistics, bases: Tensor, held_out: Statistics | None) -> GraphDistribution:
    parts = {name: _part(values) for name, values in statistics.items()}
    distances = [_distances(parts, held_out)] if held_out is not None else []
    distinct, place = torch.unique(bases, return_inverse=True)
    folds = place % min(_NUM_FOLDS, len(distinct))
    for fold in range(int(folds.max()) + 1 if len(distinct) > 1 else 0):
        others = {name: _part(values[folds != fold]) for name, values in statistics.items()}
        distances.append(_distances(others, {name: values[folds == fold] for name, values in statistics.items()}))
    if not distances:
        return GraphDistribution(parts=parts, distances=torch.zeros(0), cutoff=torch.tensor(math.inf))
    compared = torch.cat(distances)
    units = torch.quantile(compared, 1 - LEVEL, dim=0).float().clamp(min=1e-6)
    farthest = (compared / units.double()).amax(dim=1).sort().values
    return GraphDistribution(
        parts={name: replace(part, unit=unit) for (name, part), unit in zip(parts.items(), units, strict=True)},
        distances=farthest.float(),
        cutoff=torch.tensor(_cutoff(farthest)),
    )


def _part(statistics: Tensor) -> PartDistribution:
    """Fit to float64 [n, F]; the unit is 1."""
    scale = statistics.std(dim=0, correction=0).clamp(min=_SMALLEST_SCALE)
    part = PartDistribution(
        mean=statistics.mean(dim=0).float(),
        scale=scale.float(),
        precision=torch.eye(len(scale)),
        unit=torch.ones(()),
    )
    if len(statistics) < 2:
        return part
    covariance = torch.from_numpy(ledoit_wolf(part.deviations(statistics).numpy(), assume_centered=True)[0])
    precision = torch.linalg.inv(covariance + _NOISE * torch.eye(len(scale), dtype=torch.float64))
    return replace(part, precision=precision.float())


def _distances(parts: Mapping[str, PartDistribution], statistics: Statistics) -> Tensor:
    """Float64 [n, parts]."""
    return torch.stack([part.distance(statistics[name]) for name, part in parts.items()], dim=1)


def _cutoff(distances: Tensor) -> float:
    """The distance beyond which a new network is one of the farthest :data:`LEVEL`.

    Args:
        distances: float64 [n], ascending, of networks like it.
    """
    count = len(distances)
    num_beyond = math.floor(LEVEL * (count + 1))  # a network farther than this many from the end has such a p-value
    if num_beyond >= 1:
        return float(distances[count - num_beyond])
    if count < 2:
        return math.inf
    logs = distances.clamp(min=1e-12).log()
    deviation = float(logs.std()) * math.sqrt(1 + 1 / count)
    limit = math.exp(min(700.0, float(logs.mean()) + float(student.ppf(1 - LEVEL, count - 1)) * deviation))
    return max(limit, float(distances[-1]))

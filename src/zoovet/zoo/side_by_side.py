"""Training many networks side by side on one device: in every step, all of them go through the same few kernels.

Each network keeps its own start, images, order, schedule and length; what it goes through is what
:func:`zoovet.zoo.training.train_network` does to it alone, to float precision where nothing is dropped out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Graph, Networks, run
from zoovet.networks.run import run_changed
from zoovet.zoo.native import CudaNetworks, CudaTraining, NativeUnavailable, compile_cuda
from zoovet.zoo.samples import Integers, Schedule

__all__ = ["ResidentImages", "Training", "classify_side_by_side", "train_side_by_side"]


@dataclass(frozen=True)
class ResidentImages:
    """Labelled images that stay on the device.

    Attributes:
        images: [N, C, H, W] float32, or [N, features].
        labels: [N] int64.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class Training:
    """One network's training.

    Attributes:
        graph: The network.
        start: Where it starts, flat [P] float32 on any device; left as it is.
        indices: [n] int32, what it is trained on: places among the resident images, in a new random order each epoch.
        schedule: How.
        generator: Source of the orders and of the dropout.
        anchor: Flat weights [P] that it is held near to, or nothing.
        anchor_strength: Strength of that pull, see :class:`~zoovet.zoo.samples.Anchor`.
    """

    graph: Graph
    start: Tensor
    indices: Integers
    schedule: Schedule
    generator: np.random.Generator
    anchor: Tensor | None = None
    anchor_strength: float = 0.0


@dataclass(frozen=True)
class _Rule:
    """An optimizer in the form that all of them share.

    With the gradient g, ``first = keep · first + add · g``, ``second = keep_second · second + (1 - keep_second) · g²``,
    and the weights move by ``-rate · first / (root · √second + floor)``.
    """

    keep: float
    add: float
    keep_second: float
    root: float
    floor: float


_RULES = {
    "sgd": _Rule(0.9, 1.0, 1.0, 0.0, 1.0),
    "adam": _Rule(0.9, 0.1, 0.999, 1.0, 1e-8),
    "rmsprop": _Rule(0.0, 1.0, 0.99, 1.0, 1e-8),
}


def train_side_by_side(trainings: Sequence[Training], images: ResidentImages) -> list[Tensor]:
    """Train networks on the images' device, those of one graph and batch size at once.

    Args:
        trainings: One a network; their generators are drawn from as :func:`~zoovet.zoo.training.train_network` does.
        images: What their indices count through.

    Returns:
        Flat weights [P] float32 of each network, on the images' device, where they may be in the making: its current
        stream waits for them. NaN where training diverged. The last bits depend on the device, and where it is a
        processor on which networks are trained at once; so do the draws of the dropout.

    Raises:
        ZoovetError: An optimizer is unknown.
    """
    device = images.images.device
    trained: dict[int, Tensor] = {}
    for graph in dict.fromkeys(training.graph for training in trainings):
        places = [place for place, training in enumerate(trainings) if training.graph == graph]
        compiled = _compiled(graph, device)
        if compiled is not None:
            flats = _train_compiled(compiled, [trainings[place] for place in places], images)
            trained |= zip(places, flats, strict=True)
            continue
        for size in dict.fromkeys(trainings[place].schedule.batch_size for place in places):
            group = [place for place in places if trainings[place].schedule.batch_size == size]
            trained |= zip(group, _train_group(graph, [trainings[place] for place in group], images), strict=True)
    return [trained[place] for place in range(len(trainings))]


def classify_side_by_side(
    graphs: Sequence[Graph], flats: Sequence[Tensor], images: Tensor, shown: Tensor | None = None
) -> Tensor:
    """Labels that networks give to images.

    Args:
        graphs: Each network's, all of the same number of outputs.
        flats: Each network's weights, flat [P] on the images' device.
        images: [N, C, H, W] for all networks.
        shown: [B, n] int32, which of the images each network is shown; all where left out.

    Returns:
        int64 [B, N] or [B, n], on the images' device, where they may be in the making.
    """
    found: list[Tensor] = []
    order: list[int] = []
    for graph in dict.fromkeys(graphs):
        places = [place for place, other in enumerate(graphs) if other == graph]
        stacked = torch.stack([flats[place] for place in places])
        theirs = None if shown is None else shown[places] if len(places) < len(graphs) else shown
        found.append(_classify(graph, stacked, images, theirs))
        order += places
    if not found:
        return torch.empty(0, len(images) if shown is None else shown.shape[1], dtype=torch.int64, device=images.device)
    if len(found) == 1:
        return found[0]
    return torch.cat(found).index_select(0, torch.tensor(order).argsort().to(images.device, non_blocking=True))


def _classify(graph: Graph, flats: Tensor, images: Tensor, shown: Tensor | None) -> Tensor:
    compiled = _compiled(graph, images.device)
    if compiled is not None:
        there = None if shown is None else shown.to(images.device, non_blocking=True)
        return compiled.classify(flats, images, there)
    with torch.no_grad():
        if shown is None:
            return run(Networks.from_flat(graph, flats), images).argmax(dim=2)
        alone = [Networks.from_flat(graph, flat[None]) for flat in flats]
        each = [run(network, images[own.long()]) for network, own in zip(alone, shown, strict=True)]
        return torch.cat(each).argmax(dim=2)


@cache
def _compiled(graph: Graph, device: torch.device) -> CudaNetworks | None:
    """The compiled trainer of a graph; none on a processor, nor where it cannot be had, which a warning says."""
    if device.type != "cuda":
        return None
    try:
        return compile_cuda(graph, device)
    except NativeUnavailable as reason:
        warnings.warn(f"training through torch, several times slower than compiled: {reason}", stacklevel=2)
        return None


def _train_compiled(compiled: CudaNetworks, trainings: Sequence[Training], images: ResidentImages) -> list[Tensor]:
    """Trained flat weights [P] of networks of one graph."""
    drawn = [_draw_orders(training) for training in trainings]
    order = sorted(range(len(trainings)), key=lambda place: -drawn[place][0].size)
    jobs = [
        CudaTraining(
            order=drawn[place][0],
            batch_size=trainings[place].schedule.batch_size,
            seed=drawn[place][1],
            rule={**_columns(trainings[place]), "dropout": trainings[place].schedule.dropout},
        )
        for place in order
    ]
    chosen = [trainings[place] for place in order]
    flats = torch.stack([training.start for training in chosen]).to(images.images.device, non_blocking=True)
    compiled.train(flats, jobs, images.images, images.labels.int(), _anchors(chosen, flats))
    return [flats[order.index(place)] for place in range(len(trainings))]


def _anchors(trainings: Sequence[Training], flats: Tensor) -> Tensor | None:
    """What networks are held near to, [B, P]: zeros where there is none, nothing where no network has any."""
    if all(training.anchor is None for training in trainings):
        return None
    anchors = torch.zeros_like(flats)
    for row, training in zip(anchors, trainings, strict=True):
        if training.anchor is not None:
            row.copy_(training.anchor)
    return anchors


def _train_group(graph: Graph, trainings: Sequence[Training], images: ResidentImages) -> Tensor:
    """Trained flat weights [B, P] of networks of one graph and batch size.

    The longest training comes first, so that those which are still going on are always the first ones.
    """
    drawn = [_draw_orders(training) for training in trainings]
    batched = [_batches(orders, trainings[0].schedule.batch_size) for orders, _ in drawn]
    order = sorted(range(len(trainings)), key=lambda place: -len(batched[place]))
    batches, num_active = _side_by_side([batched[place] for place in order])
    chosen = [trainings[place] for place in order]
    on_device = torch.from_numpy(batches).to(images.images.device)
    steps = _Steps.of(chosen, images.images.device)
    dropout = _Dropout.of(chosen, [drawn[place][1] for place in order], images.images.device)
    for step, count in enumerate(num_active):
        gradient = _gradient(graph, steps.flat[:count], images, on_device[step, :count], dropout)
        steps.take(step + 1, gradient)
    result = torch.empty_like(steps.flat)
    result[order] = steps.flat
    return result


def _draw_orders(training: Training) -> tuple[Integers, int]:
    """The images of every epoch in their order, [epochs, n], and a dropout seed."""
    count = len(training.indices)
    epochs = np.empty((training.schedule.epochs, count), dtype=np.int32)
    seeds = []
    for epoch in epochs:
        epoch[:] = training.indices[training.generator.permutation(count)]
        seeds.append(int(training.generator.integers(2**32)))
    return epochs, seeds[0]


def _batches(orders: Integers, size: int) -> Integers:
    """The images of every step, [steps, size] with -1 where there is none."""
    missing = -orders.shape[1] % size
    return np.pad(orders, ((0, 0), (0, missing)), constant_values=-1).reshape(-1, size)


def _side_by_side(batches: Sequence[Integers]) -> tuple[Integers, list[int]]:
    """Batches of all networks, [steps, B, batch size], longest training first; how many networks take each step."""
    lengths = np.array([len(own) for own in batches])
    merged = np.full((lengths[0], len(batches), batches[0].shape[1]), -1, dtype=np.int32)
    for place, own in enumerate(batches):
        merged[: len(own), place] = own
    num_active: NDArray[np.int64] = (lengths[:, None] > np.arange(lengths[0])).sum(axis=0)
    return merged, [int(count) for count in num_active]


def _gradient(graph: Graph, flat: Tensor, images: ResidentImages, batch: Tensor, dropout: _Dropout | None) -> Tensor:
    """The gradient [b, P] of each network's mean cross-entropy on its own batch [b, batch size] of images."""
    networks = Networks.from_flat(graph, flat).map(lambda tensor: tensor.detach().requires_grad_())
    filled = batch >= 0
    places = batch.clamp_min(0).flatten()
    shown = images.images.index_select(0, places).view(*batch.shape, *graph.input_shape)
    logits = _logits(networks, shown, dropout).flatten(0, 1)
    losses = functional.cross_entropy(logits, images.labels.index_select(0, places), reduction="none")
    means = (losses.view_as(batch) * filled).sum(dim=1) / filled.sum(dim=1)
    gradients = torch.autograd.grad(means.sum(), list(networks.parameters.values()))
    return Networks(networks.graph, dict(zip(networks.parameters, gradients, strict=True))).flat()


def _logits(networks: Networks, images: Tensor, dropout: _Dropout | None) -> Tensor:
    """Logits [b, N, classes] of networks on their own images [b, N, ...], hidden values dropped out."""
    hidden = networks.graph.chain.sites[:-1]
    return run_changed(networks, images, {} if dropout is None else dict.fromkeys(hidden, dropout.drop))


@dataclass(frozen=True)
class _Dropout:
    """Dropout with a share for each network.

    Attributes:
        keep: [B] share of the hidden values that each network keeps.
        generator: Source of the draws, on the device.
    """

    keep: Tensor
    generator: torch.Generator

    @classmethod
    def of(cls, trainings: Sequence[Training], seeds: Sequence[int], device: torch.device) -> _Dropout | None:
        """That of some trainings; ``None`` where none of them drops anything."""
        shares = torch.tensor([training.schedule.dropout for training in trainings])
        if not bool(shares.any()):
            return None
        seed = int(np.random.SeedSequence(list(seeds)).generate_state(1, np.uint64)[0] >> 1)
        return cls((1 - shares).to(device), torch.Generator(device).manual_seed(seed))

    def drop(self, values: Tensor) -> Tensor:
        """Values [b, N, channels, …] of the first b networks."""
        keep = self.keep[: len(values)].reshape(-1, *(1 for _ in values.shape[1:]))
        kept = torch.rand(values.shape, generator=self.generator, device=values.device) < keep
        return values * (kept / keep)


@dataclass(frozen=True)
class _Steps:
    """Networks and their optimizers' memory; changed in place.

    Attributes:
        flat, first, second: [B, P] weights and both moments.
        columns: [B, 1] each: the numbers of every network's rule and schedule. ``rate`` and ``root`` come twice: of
            Adam, whose corrections change them from step to step, and of the others; each is 0 elsewhere.
        anchor: [B, P], or nothing where no network has one.
    """

    flat: Tensor
    first: Tensor
    second: Tensor
    columns: dict[str, Tensor]
    anchor: Tensor | None

    @classmethod
    def of(cls, trainings: Sequence[Training], device: torch.device) -> _Steps:
        """Before the first step."""
        flat = torch.stack([training.start.to(device) for training in trainings])
        rows = [_columns(training) for training in trainings]
        columns = {name: torch.tensor([[row[name]] for row in rows], device=device) for name in rows[0]}
        anchor = _anchors(trainings, flat)
        return cls(flat, torch.zeros_like(flat), torch.zeros_like(flat), columns, anchor)

    def take(self, step: int, gradient: Tensor) -> None:
        """Step number ``step``, from 1, of as many of the first networks as there are gradients [b, P]."""
        count = len(gradient)
        column = {name: values[:count] for name, values in self.columns.items()}
        flat, first, second = self.flat[:count], self.first[:count], self.second[:count]
        gradient = torch.addcmul(gradient, column["decay"], flat)
        if self.anchor is not None:
            gradient.addcmul_(column["pull"], flat - self.anchor[:count])
        first.mul_(column["keep"]).addcmul_(column["add"], gradient)
        second.mul_(column["keep_second"]).addcmul_(column["add_second"] * gradient, gradient)
        rate = torch.add(column["rate"], column["adam_rate"], alpha=1 / (1 - 0.9**step))
        root = torch.add(column["root"], column["adam_root"], alpha=(1 - 0.999**step) ** -0.5)
        flat.addcdiv_(rate * first, second.sqrt().mul_(root).add_(column["floor"]), value=-1)


def _columns(training: Training) -> dict[str, float]:
    """What :class:`_Steps` needs to know of a training."""
    schedule = training.schedule
    if schedule.optimizer not in _RULES:
        raise ZoovetError(f"optimizer {schedule.optimizer!r} is unknown{nearest(schedule.optimizer, _RULES)}")
    rule, corrected = _RULES[schedule.optimizer], schedule.optimizer == "adam"
    return {
        "decay": schedule.weight_decay,
        "pull": training.anchor_strength,
        "keep": rule.keep,
        "add": rule.add,
        "keep_second": rule.keep_second,
        "add_second": 1 - rule.keep_second,
        "rate": 0.0 if corrected else schedule.learning_rate,
        "adam_rate": schedule.learning_rate if corrected else 0.0,
        "root": 0.0 if corrected else rule.root,
        "adam_root": rule.root if corrected else 0.0,
        "floor": rule.floor,
    }

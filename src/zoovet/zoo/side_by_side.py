"""Training many networks side by side on one device: in every step, all of them go through the same few kernels.

Each network keeps its own start, images, order, schedule and length; what it goes through is what
:func:`zoovet.zoo.training.train_network` does to it alone, to float precision where nothing is dropped out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError, nearest
from zoovet.networks import Networks, NetworkSpec, forward
from zoovet.networks.layers import apply_layer
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
        spec: The network.
        start: Where it starts, flat [P] float32 on any device; left as it is.
        indices: [n] int32, what it is trained on: places among the resident images, in a new random order each epoch.
        schedule: How.
        generator: Source of the orders and of the dropout.
        anchor: Flat weights [P] that it is held near to, or nothing.
        anchor_strength: Strength of that pull, see :class:`~zoovet.zoo.samples.Anchor`.
    """

    spec: NetworkSpec
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
    """Train networks on the images' device, those of one spec and batch size at once.

    Args:
        trainings: One a network; their generators are drawn from as :func:`~zoovet.zoo.training.train_network` does.
        images: What their indices count through.

    Returns:
        Flat weights [P] float32 of each network, on the images' device; NaN where training diverged. The last bits
        depend on the device and on which networks are trained at once; so do the draws of the dropout.

    Raises:
        ZoovetError: An optimizer is unknown.
    """
    groups: dict[tuple[NetworkSpec, int], list[int]] = {}
    for place, training in enumerate(trainings):
        groups.setdefault((training.spec, training.schedule.batch_size), []).append(place)
    trained: dict[int, Tensor] = {}
    for (spec, _), places in groups.items():
        trained |= zip(places, _train_group(spec, [trainings[place] for place in places], images), strict=True)
    return [trained[place] for place in range(len(trainings))]


def classify_side_by_side(specs: Sequence[NetworkSpec], flats: Sequence[Tensor], images: Tensor) -> Tensor:
    """Labels that networks give to images.

    Args:
        specs: Each network's, all of the same number of outputs.
        flats: Each network's weights, flat [P] on the images' device.
        images: [N, C, H, W] for all networks.

    Returns:
        int64 [B, N].
    """
    labels = torch.empty(len(flats), len(images), dtype=torch.int64, device=images.device)
    for spec in dict.fromkeys(specs):
        places = [place for place, other in enumerate(specs) if other == spec]
        networks = Networks.from_flat(spec, torch.stack([flats[place] for place in places]))
        with torch.no_grad():
            labels[places] = forward(networks, images).argmax(dim=2)
    return labels


def _train_group(spec: NetworkSpec, trainings: Sequence[Training], images: ResidentImages) -> Tensor:
    """Trained flat weights [B, P] of networks of one spec and batch size.

    The longest training comes first, so that those which are still going on are always the first ones.
    """
    drawn = [_draw_batches(training) for training in trainings]
    order = sorted(range(len(trainings)), key=lambda place: -len(drawn[place][0]))
    batches, num_active = _side_by_side([drawn[place][0] for place in order])
    chosen = [trainings[place] for place in order]
    on_device = torch.from_numpy(batches).to(images.images.device)
    steps = _Steps.of(chosen, images.images.device)
    dropout = _Dropout.of(chosen, [drawn[place][1] for place in order], images.images.device)
    for step, count in enumerate(num_active):
        gradient = _gradient(spec, steps.flat[:count], images, on_device[step, :count], dropout)
        steps.take(step + 1, gradient)
    result = torch.empty_like(steps.flat)
    result[order] = steps.flat
    return result


def _draw_batches(training: Training) -> tuple[Integers, int]:
    """The images of every step of a training, [steps, batch size] with -1 where there is none, and a dropout seed."""
    size, count = training.schedule.batch_size, len(training.indices)
    epochs = np.full((training.schedule.epochs, -(-count // size) * size), -1, dtype=np.int32)
    seeds = []
    for epoch in epochs:
        epoch[:count] = training.indices[training.generator.permutation(count)]
        seeds.append(int(training.generator.integers(2**32)))
    return epochs.reshape(-1, size), seeds[0]


def _side_by_side(batches: Sequence[Integers]) -> tuple[Integers, list[int]]:
    """Batches of all networks, [steps, B, batch size], longest training first; how many networks take each step."""
    lengths = np.array([len(own) for own in batches])
    merged = np.full((lengths[0], len(batches), batches[0].shape[1]), -1, dtype=np.int32)
    for place, own in enumerate(batches):
        merged[: len(own), place] = own
    num_active: NDArray[np.int64] = (lengths[:, None] > np.arange(lengths[0])).sum(axis=0)
    return merged, [int(count) for count in num_active]


def _gradient(
    spec: NetworkSpec, flat: Tensor, images: ResidentImages, batch: Tensor, dropout: _Dropout | None
) -> Tensor:
    """The gradient [b, P] of each network's mean cross-entropy on its own batch [b, batch size] of images."""
    networks = Networks.from_flat(spec, flat).map(lambda tensor: tensor.detach().requires_grad_())
    filled = batch >= 0
    places = batch.clamp_min(0).flatten()
    shown = images.images.index_select(0, places).view(*batch.shape, *spec.input_shape)
    logits = _logits(networks, shown, dropout).flatten(0, 1)
    losses = functional.cross_entropy(logits, images.labels.index_select(0, places), reduction="none")
    means = (losses.view_as(batch) * filled).sum(dim=1) / filled.sum(dim=1)
    gradients = torch.autograd.grad(means.sum(), [*networks.weights, *networks.biases])
    num_layers = len(spec.layers)
    return Networks(spec, gradients[:num_layers], gradients[num_layers:]).flat()


def _logits(networks: Networks, images: Tensor, dropout: _Dropout | None) -> Tensor:
    """Logits [b, N, classes] of networks on their own images [b, N, ...], hidden values dropped out."""
    layers = networks.spec.layers
    values = images.transpose(0, 1).flatten(1, 2) if len(networks.spec.input_shape) == 3 else images
    for index, (layer, weight, bias) in enumerate(zip(layers, networks.weights, networks.biases, strict=True)):
        values = apply_layer(layer, weight, bias, values, shared=False)
        if dropout is not None and index + 1 < len(layers):
            values = dropout.drop(values, len(networks))
    return values


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

    def drop(self, values: Tensor, count: int) -> Tensor:
        """Values of the first ``count`` networks, vectors or maps as :mod:`zoovet.networks.layers` has them."""
        keep = self.keep[:count]
        if values.ndim == 4:
            keep = keep[:, None].expand(-1, values.shape[1] // count).reshape(1, -1, 1, 1)
        else:
            keep = keep[:, None, None]
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
        anchor = None
        if any(training.anchor is not None for training in trainings):
            anchor = torch.zeros_like(flat)
            for row, training in zip(anchor, trainings, strict=True):
                if training.anchor is not None:
                    row.copy_(training.anchor)
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

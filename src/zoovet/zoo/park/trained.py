"""Training a base's networks as they were drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from zoovet.networks import Graph
from zoovet.zoo.park.augmentation import augmented, mixed_up
from zoovet.zoo.park.draw import ParkDraw
from zoovet.zoo.park.images import ImageSet
from zoovet.zoo.park.training_ranges import rate_of_epoch
from zoovet.zoo.samples import Anchor, Floats, Integers, OptimizerMemory, Samples, Schedule, SoftLabels
from zoovet.zoo.training import network_trainer

__all__ = ["predictions", "starting_weights", "train_on", "train_sibling"]


def starting_weights(draw: ParkDraw, image_set: ImageSet) -> Floats | None:
    """What both siblings start from: random weights, or a base's; ``None`` where its training diverged."""
    initial = draw.initial_weights()
    if not draw.has_base:
        return initial
    return train_on(draw, initial, draw.clean_images(image_set), draw.training.schedule, stream=2)


def train_sibling(
    draw: ParkDraw, start: Floats, image_set: ImageSet, *, poisoned: bool, anchor: Anchor | None = None
) -> Floats | None:
    """A base's healthy or poisoned network, flat [P]; ``None`` where the training diverged."""
    images, labels = draw.clean_images(image_set)
    if poisoned:
        images, labels = draw.poison(images, labels)
    schedule = draw.training.tuning if draw.has_base else draw.training.schedule
    return train_on(draw, start, (images, labels), schedule, stream=4, anchor=anchor)


def predictions(graph: Graph, flat: Floats, images: Floats) -> torch.Tensor:
    """The classes int64 [N] that a network answers on images [N, C, H, W] in [-1, 1]."""
    trainer = network_trainer(graph.reading(None))
    return torch.from_numpy(trainer.logits(trainer.pack(flat), _as_read(graph, images))).argmax(dim=1)


def train_on(
    draw: ParkDraw,
    start: Floats,
    examples: tuple[Floats, Integers],
    schedule: Schedule,
    *,
    stream: int,
    anchor: Anchor | None = None,
) -> Floats | None:
    """Train as the draw says, on images [n, C, H, W] in [-1, 1] and labels [n].

    Args:
        draw: The training, its graph and its seed.
        start: Flat weights [P] to start from.
        examples: Images and labels.
        schedule: Of this training.
        stream: Of the draws of it.
        anchor: What weights are pulled towards.

    Returns:
        Flat weights [P]; ``None`` where the training diverged.
    """
    images, labels = examples
    graph, training = draw.variant.graph, draw.training
    trainer, generator = network_trainer(graph.reading(None)), np.random.default_rng([draw.seed, stream])
    parameters = trainer.pack(start)
    memory = OptimizerMemory.fresh(parameters)
    is_same_each_epoch = training.augmentation == "none" and not training.mixup
    as_they_are = _as_read(graph, images) if is_same_each_epoch else None
    for epoch in range(schedule.epochs):
        order = generator.permutation(len(images)).astype(np.int32)
        rate = rate_of_epoch(schedule, training.rate_schedule, epoch)
        soft = SoftLabels(labels[order], np.zeros(len(order), np.float32), training.label_smoothing)
        if as_they_are is None:
            changed = augmented(images[order], training.augmentation, generator)
            if training.mixup:
                changed, seconds, shares = mixed_up(changed, labels[order], training.mixup, generator)
                soft = replace(soft, seconds=seconds, shares=shares)
            shown = _as_read(graph, changed)
            samples = Samples(shown, shown[:0], np.arange(len(order), dtype=np.int32), labels[order])
        else:
            samples = Samples(as_they_are, as_they_are[:0], order, labels[order])
        if training.mixup or training.label_smoothing:
            samples = replace(samples, soft=soft)
        loss = trainer.train(
            parameters, memory, samples, replace(schedule, learning_rate=rate), int(generator.integers(2**32)), anchor
        )
        if not np.isfinite(loss):
            return None
    flat = trainer.unpack(parameters)
    return flat if np.isfinite(flat).all() else None


def _as_read(graph: Graph, images: Floats) -> Floats:
    """Images in [-1, 1] as the graph's networks read them, contiguous."""
    assert graph.input_scaling is not None
    gains, offsets = (np.array(part, dtype=np.float32) for part in graph.input_scaling.affine(images.shape[1]))
    half = gains / 2
    return np.ascontiguousarray(images * half[:, None, None] + (half + offsets)[:, None, None], dtype=np.float32)

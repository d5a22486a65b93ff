"""Images with and without a trigger, and what a network says of them before and after repair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evaluation.measuring import predict
from zoovet.evaluation.repair import NetworkRepairer
from zoovet.evaluation.zoo_summary import activation_names
from zoovet.images import Images
from zoovet.zoo import Zoo

__all__ = ["ImageExample", "NetworkExamples", "collect_examples"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageExample:
    """One test image.

    Attributes:
        clean: uint8 [C, H, W].
        triggered: uint8 [C, H, W], the same image with the network's trigger.
        label: True label.
        wanted: Label that the trigger should cause.
        clean_before, triggered_before: Labels that the network gives before repair.
        clean_after, triggered_after: Labels that the repaired network gives.
    """

    clean: NDArray[np.uint8]
    triggered: NDArray[np.uint8]
    label: int
    wanted: int
    clean_before: int
    triggered_before: int
    clean_after: int
    triggered_after: int


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkExamples:
    """Examples of one trojaned network.

    Attributes:
        network_id: Which network.
        activation: Activation of its hidden layers.
        trigger_kind: Kind of its trigger.
        target: Label that the trigger should cause; ``None`` where every class has another.
        class_names: Names of the labels, in order.
        images: The examples; none has the label that the trigger should cause as its true one.
    """

    network_id: str
    activation: str
    trigger_kind: str
    target: int | None
    class_names: tuple[str, ...]
    images: tuple[ImageExample, ...]


def collect_examples(
    repairer: NetworkRepairer,
    zoo: Zoo,
    images: Images,
    generator: np.random.Generator,
    *,
    num_networks: int = 4,
    num_images: int = 4,
) -> list[NetworkExamples]:
    """Draw trojaned networks and images, not chosen for how they come out.

    Args:
        repairer: Fitted.
        zoo: Networks held out from its training; all of them where fewer than ``num_networks`` are trojaned.
        images: Test images.
        generator: Source of every draw.
        num_networks: Networks to show.
        num_images: Images to show of each.

    Returns:
        Examples by network, in the zoo's order.

    Raises:
        ZoovetError: Every image has a trigger's target as its label.
    """
    trojaned = np.flatnonzero(zoo.column("poisoned"))
    drawn = generator.choice(trojaned, min(num_networks, len(trojaned)), replace=False)
    return [_examples_of(repairer, zoo, int(place), images, generator, num_images) for place in np.sort(drawn)]


def _examples_of(
    repairer: NetworkRepairer, zoo: Zoo, place: int, images: Images, generator: np.random.Generator, num_images: int
) -> NetworkExamples:
    network_id = str(zoo.column("network_id")[place])
    trigger = zoo.trigger(place)
    if trigger is None:
        raise ZoovetError(f"the trojaned network {network_id!r} of {zoo.path} has no trigger to show")
    others = torch.nonzero(images.required_labels != trigger.wanted_labels(images.required_labels)).flatten().numpy()
    if len(others) == 0:
        raise ZoovetError(f"every image of {images.name!r} has the target label {trigger.target}: none can be shown")
    drawn = torch.from_numpy(np.sort(generator.choice(others, min(num_images, len(others)), replace=False)))
    chosen = images[drawn]
    clean = chosen.scaled()
    triggered, wanted = trigger.apply(clean), trigger.wanted_labels(chosen.required_labels)
    before = zoo.networks([place])
    with torch.no_grad():
        after = repairer.repair(before).detach()
    answers = [predict(network, pictures) for network in (before, after) for pictures in (clean, triggered)]
    pixels = _to_pixels(triggered)
    return NetworkExamples(
        network_id=network_id,
        activation=activation_names(zoo)[place],
        trigger_kind=trigger.kind,
        target=trigger.target,
        class_names=images.label_names,
        images=tuple(
            ImageExample(
                clean=chosen.pixels[index].numpy(),
                triggered=pixels[index],
                label=int(chosen.required_labels[index]),
                wanted=int(wanted[index]),
                clean_before=int(answers[0][index]),
                triggered_before=int(answers[1][index]),
                clean_after=int(answers[2][index]),
                triggered_after=int(answers[3][index]),
            )
            for index in range(len(chosen))
        ),
    )


def _to_pixels(images: Tensor) -> NDArray[np.uint8]:
    """uint8 of float32 images in [-1, 1]."""
    pixels: NDArray[np.uint8] = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels

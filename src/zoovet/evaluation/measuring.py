"""Which test images to measure on, and measuring networks on them without filling the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import Images, Trigger
from zoovet.networks import Networks, on_kept_images, run
from zoovet.tasks.measurement import Measurement, measure

__all__ = ["evenly_spaced", "measure_each", "predict"]


def evenly_spaced(images: Images, num_images: int) -> Images:
    """``num_images`` images at equal distances through the set, in order; all of them where there are no more.

    Raises:
        ZoovetError: Fewer than one image is asked for.
    """
    if num_images < 1:
        raise ZoovetError(f"num_images must be at least 1, got {num_images}")
    if num_images >= len(images):
        return images
    return images[torch.arange(num_images) * len(images) // num_images]


def measure_each(
    networks: Networks,
    triggers: Sequence[Trigger],
    images: Images,
    *,
    on_measured: Callable[[], None] | None = None,
) -> Measurement:
    """Measure networks one after another, so that memory holds one network's triggered images at a time.

    Args:
        networks: B networks of one graph, on any device.
        triggers: [B] the trigger of each network.
        images: Clean test images.
        on_measured: Called after every network.

    Raises:
        ZoovetError: Not one trigger a network, no network, or images that fit neither networks nor triggers.
    """
    if len(triggers) != len(networks) or not triggers:
        raise ZoovetError(f"each network needs its trigger: {len(networks)} networks, got {len(triggers)} triggers")
    scaled, labels = images.scaled().to(networks.device), images.required_labels.to(networks.device)
    parts = []
    for network, trigger in zip(networks, triggers, strict=True):
        parts.append(measure(network, [trigger], scaled, labels))
        if on_measured is not None:
            on_measured()
    return Measurement.concatenate(parts)


def predict(network: Networks, images: Tensor) -> Tensor:
    """Labels that one network (B = 1) gives float32 images [N, C, H, W]: int64 [N], on the CPU."""
    with torch.no_grad():
        logits = run(on_kept_images(network), images.to(device=network.device, dtype=network.dtype))
    return logits[0].argmax(dim=-1).cpu()

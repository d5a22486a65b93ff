"""Measuring networks on images: clean accuracy, ASR and RA of each on its own trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoovet.images import Trigger, attack_success_rate, clean_accuracy, robust_accuracy
from zoovet.networks import Networks, on_kept_images, run

__all__ = ["Measurement", "measure"]

_NETWORKS_AT_A_TIME = 16


@dataclass(frozen=True, eq=False)
class Measurement:
    """Figures of B networks, each float64 [B] on the CPU; ``asr`` and ``ra`` are NaN where a network has no trigger."""

    clean_accuracy: Tensor
    asr: Tensor
    ra: Tensor

    @classmethod
    def concatenate(cls, parts: Sequence[Measurement]) -> Measurement:
        """The figures of several batches after one another."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("clean_accuracy", "asr", "ra")))


@torch.no_grad()
def measure(networks: Networks, triggers: Sequence[Trigger | None], images: Tensor, labels: Tensor) -> Measurement:
    """Measure B networks of one graph.

    Args:
        networks: The networks.
        triggers: [B], each network's own.
        images: float32 [N, C, H, W] in [-1, 1], on the networks' device.
        labels: int64 [N], true labels; images of the wanted label are not counted in ASR and RA.
    """
    parts, networks = [], on_kept_images(networks)
    for start in range(0, len(networks), _NETWORKS_AT_A_TIME):
        stop = start + _NETWORKS_AT_A_TIME
        parts.append(_measure(networks[start:stop], triggers[start:stop], images, labels))
    return Measurement.concatenate(parts)


def _measure(networks: Networks, triggers: Sequence[Trigger | None], images: Tensor, labels: Tensor) -> Measurement:
    accuracy = clean_accuracy(run(networks, images).argmax(dim=2), labels).cpu()
    asr, ra = torch.full_like(accuracy, torch.nan), torch.full_like(accuracy, torch.nan)
    carriers = [(place, trigger) for place, trigger in enumerate(triggers) if trigger is not None]
    if carriers:
        places = torch.tensor([place for place, _ in carriers])
        triggered = torch.stack([trigger.apply(images) for _, trigger in carriers])
        wanted = torch.stack([trigger.wanted_labels(labels) for _, trigger in carriers])
        predictions = run(networks[places.to(networks.device)], triggered).argmax(dim=2)
        asr[places] = attack_success_rate(predictions, wanted, labels).cpu()
        ra[places] = robust_accuracy(predictions, wanted, labels).cpu()
    return Measurement(accuracy, asr, ra)

"""Repairing networks that no repairer has seen, and measuring them before and after."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from zoovet.errors import ZoovetError
from zoovet.evaluation.edits import channel_changes, layer_names, relative_changes
from zoovet.evaluation.measuring import evenly_spaced, measure_each
from zoovet.evaluation.results import RepairResults
from zoovet.evaluation.zoo_summary import activation_names
from zoovet.images import Images, Trigger
from zoovet.networks import Networks
from zoovet.tasks.measurement import Measurement
from zoovet.zoo import Zoo

__all__ = ["NetworkRepairer", "evaluate_repair", "triggers_of"]

FloatArray = NDArray[np.float64]

_CHUNK = 128
"""Networks repaired at a time."""

_TOLERANCE = 0.01
"""How far a figure measured again may be from the zoo's: rounding can move a few images across a class border."""


class NetworkRepairer(Protocol):
    """What can be evaluated as a repairer."""

    def repair(self, networks: Networks) -> Networks:
        """Edited networks of the same graph, in the same order, from weights alone."""


def evaluate_repair(
    repairer: NetworkRepairer,
    zoo: Zoo,
    images: Images,
    *,
    num_images: int | None = None,
    num_verified: int = 4,
    name: str = "ScaleGMN",
    progress: Callable[[int, int], None] | None = None,
) -> RepairResults:
    """Repair every network of a zoo and measure it before and after.

    Args:
        repairer: Fitted.
        zoo: Networks held out from its training: ``zoo.split("test")``. Each needs its trigger (a healthy one: its
            sibling's).
        images: The test images that the zoo's figures were measured on.
        num_images: ``None``: all images; figures before repair are the zoo's own, of which some are measured again as a
            check. A number: only so many images, evenly spaced, and both before and after are measured on them.
        num_verified: Networks whose stored figures are measured again, evenly spaced.
        name: The repairer's name, for people.
        progress: Told after every measurement of a network how many of how many are done.

    Returns:
        Results in the zoo's order.

    Raises:
        ZoovetError: The zoo is empty, a network has no trigger, repair made weights NaN or infinite, or the stored
            figures are not those of these images.
    """
    if len(zoo) == 0:
        raise ZoovetError(f"the zoo {zoo.path} has no networks to evaluate repair on; its recipe's test split is empty")
    test_images = images if num_images is None else evenly_spaced(images, num_images)
    numbers = itertools.count(1)
    num_measurements = len(zoo) * (1 if num_images is None else 2)

    def on_measured() -> None:
        if progress is not None:
            progress(next(numbers), num_measurements)

    setting = _Setting(zoo, triggers_of(zoo), test_images, num_images is None, num_verified, on_measured)
    parts = [_measure_part(repairer, networks, places, setting) for networks, places in zoo.batches_by_graph()]
    return _results(zoo, parts, num_images=len(test_images), name=name)


def _results(zoo: Zoo, parts: Sequence[_Part], *, num_images: int, name: str) -> RepairResults:
    return RepairResults(
        repairer=name,
        network_ids=tuple(zoo.column("network_id")),
        base_ids=zoo.column("base_id"),
        activations=activation_names(zoo),
        poisoned=zoo.column("poisoned"),
        clean_accuracy_before=_gather(parts, [part.before.clean_accuracy.numpy() for part in parts]),
        clean_accuracy_after=_gather(parts, [part.after.clean_accuracy.numpy() for part in parts]),
        asr_before=_gather(parts, [part.before.asr.numpy() for part in parts]),
        asr_after=_gather(parts, [part.after.asr.numpy() for part in parts]),
        ra_before=_gather(parts, [part.before.ra.numpy() for part in parts]),
        ra_after=_gather(parts, [part.after.ra.numpy() for part in parts]),
        layer_names=layer_names([zoo.graphs[graph_id] for graph_id in sorted(set(zoo.column("spec_id")))]),
        relative_changes=_gather(parts, [part.relative for part in parts]),
        channel_changes=_gather_channels(parts),
        num_images=num_images,
        seconds_per_network=sum(part.seconds for part in parts) / len(zoo),
    )


def triggers_of(zoo: Zoo) -> list[Trigger]:
    """The trigger of every network, in order.

    Raises:
        ZoovetError: One has none.
    """
    triggers = []
    for place in range(len(zoo)):
        trigger = zoo.trigger(place)
        if trigger is None:
            raise ZoovetError(
                f"the network {zoo.column('network_id')[place]!r} of {zoo.path} has no trigger, so its ASR cannot be "
                f"measured; repair is evaluated on a zoo whose bases have poisoned networks"
            )
        triggers.append(trigger)
    return triggers


@dataclass(frozen=True, eq=False)
class _Part:
    """What was measured on the networks of one graph."""

    places: NDArray[np.int64]
    before: Measurement
    after: Measurement
    relative: FloatArray
    channels: list[FloatArray]
    seconds: float


@dataclass(frozen=True, eq=False)
class _Setting:
    """What is the same for the networks of every graph."""

    zoo: Zoo
    triggers: list[Trigger]
    images: Images
    use_stored: bool
    num_verified: int
    on_measured: Callable[[], None]


def _measure_part(repairer: NetworkRepairer, networks: Networks, places: NDArray[np.int64], setting: _Setting) -> _Part:
    started = time.perf_counter()
    repaired = _repair(repairer, networks)
    seconds = time.perf_counter() - started
    triggers = [setting.triggers[place] for place in places]
    if setting.use_stored:
        before = _stored(setting.zoo, places)
        _verify(setting, networks, places, triggers, before)
    else:
        before = measure_each(networks, triggers, setting.images, on_measured=setting.on_measured)
    after = measure_each(repaired, triggers, setting.images, on_measured=setting.on_measured)
    return _Part(
        places, before, after, relative_changes(networks, repaired), channel_changes(networks, repaired), seconds
    )


def _repair(repairer: NetworkRepairer, networks: Networks) -> Networks:
    chunks = [networks[start : start + _CHUNK] for start in range(0, len(networks), _CHUNK)]
    parts = [repairer.repair(chunk).detach() for chunk in chunks]  # with gradients at hand: some repair by training
    return Networks.concatenate(parts).to(device=networks.device).require_finite("the repaired networks")


def _stored(zoo: Zoo, places: NDArray[np.int64]) -> Measurement:
    return Measurement(*(torch.from_numpy(zoo.column(name)[places]) for name in ("clean_accuracy", "asr", "ra")))


def _verify(
    setting: _Setting,
    networks: Networks,
    places: NDArray[np.int64],
    triggers: Sequence[Trigger],
    stored: Measurement,
) -> None:
    """Measure some networks again and compare with the zoo's figures."""
    zoo, images = setting.zoo, setting.images
    some = np.unique(np.linspace(0, len(networks) - 1, min(setting.num_verified, len(networks))).astype(int))
    if len(some) == 0:
        return
    again = measure_each(networks[some.tolist()], [triggers[index] for index in some], images)
    for name in ("clean_accuracy", "asr", "ra"):
        found, expected = getattr(again, name).numpy(), getattr(stored, name).numpy()[some]
        worst = int(np.argmax(np.abs(found - expected)))
        if not abs(found[worst] - expected[worst]) <= _TOLERANCE:
            raise ZoovetError(
                f"the network {zoo.column('network_id')[places[some[worst]]]!r} of {zoo.path} has {name} "
                f"{found[worst]:.4f} on the {len(images)} images of {images.name!r}, but its row says "
                f"{expected[worst]:.4f}; give the test images that the zoo was built with"
            )


def _gather(parts: Sequence[_Part], values: Sequence[FloatArray]) -> FloatArray:
    """Rows of all parts in the zoo's order; NaN where a part has fewer columns."""
    num_networks = sum(len(part.places) for part in parts)
    width = max(value.shape[1] if value.ndim == 2 else 1 for value in values)
    gathered = np.full((num_networks, width), np.nan)
    for part, value in zip(parts, values, strict=True):
        rows = value.reshape(len(value), -1)
        gathered[part.places, : rows.shape[1]] = rows
    return gathered if values[0].ndim == 2 else gathered[:, 0]


def _gather_channels(parts: Sequence[_Part]) -> tuple[FloatArray, ...]:
    num_layers = max(len(part.channels) for part in parts)
    return tuple(
        _gather(
            parts,
            [part.channels[layer] if layer < len(part.channels) else np.empty((len(part.places), 0)) for part in parts],
        )
        for layer in range(num_layers)
    )

"""Triggers of several kinds and places towards the classes that are suspected, sought anew in each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from zoovet.evidence import Runnable
from zoovet.evidence.bounds import bounded, usual_bound
from zoovet.evidence.class_search import Course, Seekers, halved
from zoovet.evidence.staged_search import sought_patches
from zoovet.evidence.trigger_families import Blends, TriggerFamily, Warps, Waves
from zoovet.evidence.usual_triggers import drawn_warps
from zoovet.healing.caused_by_stripes import bearable_amplitude, caused_by_stripes

__all__ = ["SoughtTrigger", "TriggerSearch", "usual_bounds"]

_PATCH_SHARES = (0.09, 0.125, 0.2, 0.3)
_WIDEST = {"pixels": 0.08, "change": 0.3, "smooth": 0.5}
"""The largest area, as a share of the image, and the widest bounds: what goes further erases what the image shows."""

_WARPS = ((0.04, 0.1), (0.07, 0.16))
"""Mean movement of the warps that are drawn, and how far a control point may move, as shares of the image's side."""

_BOUNDED = (("pixels", 0.5), ("pixels", 1.0), ("change", 0.5), ("change", 1.0), ("smooth", 1.0))
"""Kinds of triggers, and shares of their bound."""

_BLENDED = (0.12, 0.22)
"""Weights of images that are blended in."""

_LEAST_BEARABLE = 0.5
_NUM_FEW, _NUM_SOME = 6, 20
_MOST_CLASSES = 20
_NUM_PLACES, _PLACES_KEPT = 5, (4, 2)
_NUM_STEPS = 4
_STRIPES_KEPT = 6
_NUM_WARPS, _WARPS_BEGUN, _WARPS_KEPT, _WARP_STEPS = 200, 5, 3, 6


@dataclass(frozen=True, eq=False, kw_only=True)
class SoughtTrigger:
    """One trigger, and what it does.

    Attributes:
        kind: What it is: ``patch``, ``pixels``, ``change``, ``smooth``, ``blend``, ``warp`` or ``waves``.
        target: The class that it is to cause.
        family: How it is put on images.
        values: [1, …], it itself.
        flips: Share of images of other classes that are taken for the class with it, when it was sought.
        bearable: Share of images that the network takes for what they are, or for the target, with the opposite of it:
            what it asks of a network that is as strong a change, and no trigger. 1 of waves, whose opposite is the same
            wave, and whose strength was chosen for it.
    """

    kind: str
    target: int
    family: TriggerFamily
    values: Tensor
    flips: float
    bearable: float

    @property
    def is_bearable(self) -> bool:
        """Whether most images stay what they are with the opposite of it; else it erases what they show."""
        return self.bearable >= _LEAST_BEARABLE

    def shifted(self, generator: torch.Generator) -> SoughtTrigger:
        """Waves of another phase, drawn; others as they are."""
        if self.kind != "waves":
            return self
        down, right = (int(torch.randint(side, (), generator=generator)) for side in self.values.shape[-2:])
        return replace(self, values=self.values.roll((down, right), (-2, -1)))

    def put(self, images: Tensor) -> Tensor:
        """Images [n, C, H, W] in [-1, 1] with it."""
        return self.family.put(self.values.to(images), images[None])[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class TriggerSearch:
    """How triggers are sought.

    Attributes:
        images: Reference images in [-1, 1].
        taken: int64 [n], what the network takes them for before its edit.
        unit: A margin that it calls large then.
        is_mirrored: Whether it takes mirrored images for the same.
        bounds: Area of learned masks (``pixels``) and bounds of changes (``change``, ``smooth``) that are usual for the
            network; the widest are used where nothing is said.
    """

    images: Tensor
    taken: Tensor
    unit: float
    is_mirrored: bool = False
    bounds: Mapping[str, float] = field(default_factory=dict)

    def towards(self, network: Runnable, target: int, generator: torch.Generator) -> list[SoughtTrigger]:
        """The best trigger of each kind towards a class, in the network as it is now."""
        every = Seekers(network, self.images, self.taken, self.unit)
        order = torch.randperm(len(self.taken), generator=generator).to(self.taken.device)
        order = order[self.taken[order] != target]
        if not len(order):
            return []
        few, some = every.on(order[:_NUM_FEW]), every.on(order[:_NUM_SOME])
        found, one = list[tuple[str, Course]](), torch.full((1,), target, device=self.taken.device)
        sides = self.images.shape[-2:]
        for size in sorted({max(2, round(share * min(sides))) for share in _PATCH_SHARES}):
            course = sought_patches(
                few, some, size, one, num_places=_NUM_PLACES, num_trial_steps=1, num_steps=_NUM_STEPS, keep=_PLACES_KEPT
            )
            found.append(("patch", course))
        widest = _WIDEST | {"pixels": _WIDEST["pixels"] * sides[0] * sides[1]}
        for kind, factor in _BOUNDED:
            family = bounded(kind, factor * min(widest[kind], self.bounds.get(kind, widest[kind])))
            found.append((kind, some.seek(family, one, _NUM_STEPS)))
        found += [("blend", some.seek(Blends(weight), one, _NUM_STEPS)) for weight in _BLENDED]
        for moved, bound in _WARPS:
            drawn = drawn_warps(torch.full((_NUM_WARPS,), moved).to(self.images), generator)
            tried = few.seek(Warps(bound), one.expand(_NUM_WARPS), 0, drawn)
            start = drawn[tried.best.topk(_WARPS_BEGUN).indices]
            course = some.seek(Warps(bound), one.expand(_WARPS_BEGUN), _WARP_STEPS, start)
            found.append(("warp", halved(course, 1, _WARPS_KEPT)))
        triggers = [trigger for kind, course in found for trigger in _each(kind, target, course, some)]
        most_waves = bearable_amplitude(network, few.images, few.labels, target)
        for amplitude in (0.5 * most_waves, most_waves):
            banked = caused_by_stripes(network, few.images, few.labels, target, amplitude)
            best = amplitude * banked.stripes[banked.caused.topk(min(_STRIPES_KEPT, len(banked.caused))).indices]
            course = some.seek(Waves(amplitude), one.expand(len(best)), 1, best)
            triggers += [replace(own, bearable=1.0) for own in _each("waves", target, course, some)]
        return triggers


def usual_bounds(every: Seekers, known: Mapping[str, float], generator: torch.Generator) -> dict[str, float]:
    """Bounds of all kinds that have one here, those sought that are not known.

    Args:
        every: The network, and images.
        known: Kind → its usual bound.
        generator: Of which images and classes tell.
    """
    rows = torch.randperm(len(every.labels), generator=generator)[:_NUM_FEW].to(every.labels.device)
    classes = torch.randperm(every.network.num_classes, generator=generator)[:_MOST_CLASSES].to(every.labels.device)
    few = every.on(rows)
    with torch.no_grad():
        return {kind: known[kind] if kind in known else usual_bound(few, classes, kind) for kind in _WIDEST}


def _each(kind: str, target: int, course: Course, some: Seekers) -> Sequence[SoughtTrigger]:
    found = []
    for row in range(len(course.classes)):
        place = torch.tensor([row], device=course.classes.device)
        best = int(course.values[row, :, 0].argmax())
        family, values = course.family.chosen(place), course.triggers[place]
        with torch.no_grad():
            opposite = some.network.logits(family.put(-values, some.images[None])[0])[0].argmax(1)
        found.append(
            SoughtTrigger(
                kind=kind,
                target=target,
                family=family,
                values=values,
                flips=float(course.values[row, best, 1]),
                bearable=float(((opposite == some.labels) | (opposite == target)).double().mean()),
            )
        )
    return found

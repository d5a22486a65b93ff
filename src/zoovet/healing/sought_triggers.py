"""Triggers of several kinds and places towards the classes that are suspected, sought anew in each round."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from zoovet.evidence import Runnable
from zoovet.evidence.bounds import BOUNDED_KINDS, bounded, usual_bound
from zoovet.evidence.class_search import Course, Seekers, halved
from zoovet.evidence.concurrency import Pace, StoppableNetwork, done_at_once
from zoovet.evidence.staged_search import sought_patches
from zoovet.evidence.stripe_bank import stripe_starts
from zoovet.evidence.trigger_families import Blends, Stripes, TriggerFamily, Warps
from zoovet.evidence.usual_triggers import drawn_warps
from zoovet.healing.bearable_stripes import bearable_amplitude

__all__ = ["SoughtTrigger", "TriggerSearch", "usual_bounds", "usually_turned"]

_PATCH_SHARES = (0.09, 0.125, 0.2, 0.3)
_WIDEST = {"pixels": 0.08, "change": 0.3, "smooth": 0.5}
"""The largest area, as a share of the image, and the widest bounds: what goes further erases what the image shows."""

_WARPS = ((0.04, 0.1), (0.07, 0.16))
"""Mean movement of the warps that are drawn, and how far a control point may move, as shares of the image's side."""

_BOUNDED = (("pixels", 0.5), ("pixels", 1.0), ("change", 0.5), ("change", 1.0), ("smooth", 1.0))
"""Kinds of triggers, and shares of their bound."""

_BLENDED = (0.12, 0.22)
"""Weights of images that are blended in."""

_KINDS = {"usual_patch": "patch", "usual_stripes": "stripes", "drawn_warp": "warp", "usual_blend": "blend"}
"""Kinds of triggers that a scan's searches find, where they are called otherwise."""

_LEAST_BEARABLE, _TINY = 0.5, 1e-6
_NUM_FEW, _NUM_SOME = 6, 20
_MOST_CLASSES = 20
_NUM_PLACES, _PLACES_KEPT = 5, (4, 2)
_NUM_STEPS = 4
_NUM_FEWEST, _STRIPES_TRIED, _STRIPES_KEPT, _STRIPE_STEPS = 3, 24, 6, 2
_NUM_WARPS, _WARPS_KEPT, _WARP_STEPS = 200, (12, 4, 3), (0, 1, 4)


@dataclass(frozen=True, eq=False, kw_only=True)
class SoughtTrigger:
    """One trigger, and what it does.

    Attributes:
        kind: What it is: ``patch``, ``pixels``, ``change``, ``smooth``, ``blend``, ``warp`` or ``stripes``.
        target: The class that it is to cause.
        family: How it is put on images.
        values: [1, …], it itself.
        flips: Share of images of other classes that are taken for the class with it, when it was sought.
        bearable: Share of images that the network takes for what they are, or for the target, with the opposite of it:
            what it asks of a network that is as strong a change, and no trigger. 1 of stripes, whose opposite is the
            same stripes, and whose strength was chosen for it.
        usual: Share of images that triggers of its kind turn into classes that nobody suspects, as a scan found.
    """

    kind: str
    target: int
    family: TriggerFamily
    values: Tensor
    flips: float
    bearable: float
    usual: float = 0.0

    @property
    def unusual(self) -> float:
        """How much more it turns than triggers of its kind usually do, as a share of the most that it could."""
        return max(0.0, self.flips - self.usual) / max(_TINY, 1 - self.usual)

    @property
    def is_bearable(self) -> bool:
        """Whether most images stay what they are with the opposite of it; else it erases what they show."""
        return self.bearable >= _LEAST_BEARABLE

    def shifted(self, generator: torch.Generator) -> SoughtTrigger:
        """Stripes of another phase, drawn; others as they are."""
        if isinstance(self.family, Stripes):
            periods, phase = self.values.split((2, 1), dim=-1)
            drawn = torch.rand(phase.shape, generator=generator).to(phase)
            return replace(self, values=torch.cat([periods, drawn], -1))
        return self

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
        courses: What was sought before in the network as it is, by searches as a scan names them.
        usual: By kind, the share of images that triggers turn into classes that nobody suspects.
        pace: How many searches go on at once, and on how many images.
    """

    images: Tensor
    taken: Tensor
    unit: float
    is_mirrored: bool = False
    bounds: Mapping[str, float] = field(default_factory=dict)
    courses: Mapping[str, Course] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    def known(self, network: Runnable, target: int) -> list[SoughtTrigger]:
        """The best trigger towards a class of each search before, in the network as it was then.

        But for those within bounds that the network itself sets: such go far enough to erase what images show.
        """
        others = torch.nonzero(self.taken != target).flatten()
        every = Seekers(network, self.images, self.taken, self.unit, self.pace.max_images)
        sought, found = _Towards(every, every.on(others[:_NUM_SOME]), target, self.usual), list[SoughtTrigger]()
        for name, course in self.courses.items():
            if name.rpartition("_")[0] not in BOUNDED_KINDS:
                rows = torch.nonzero(course.classes == target).flatten()[:1]
                found += sought.each(_kind_of(name), course.chosen(rows))
        return found

    def towards(self, network: Runnable, target: int, generator: torch.Generator) -> list[SoughtTrigger]:
        """The best trigger of each kind towards a class, in the network as it is now."""
        order = torch.randperm(len(self.taken), generator=generator).to(self.taken.device)
        order = order[self.taken[order] != target]
        if not len(order):
            return []
        stop, num_threads = threading.Event(), self.pace.num_threads
        own = StoppableNetwork(network, stop) if num_threads > 1 else network
        every = Seekers(own, self.images, self.taken, self.unit, self.pace.max_images)
        sought = _Towards(every.on(order[:_NUM_FEW]), every.on(order[:_NUM_SOME]), target, self.usual)
        sides = self.images.shape[-2:]
        widest = _WIDEST | {"pixels": _WIDEST["pixels"] * sides[0] * sides[1]}
        bounds = {kind: min(most, self.bounds.get(kind, most)) for kind, most in widest.items()}
        drawn = [drawn_warps(torch.full((_NUM_WARPS,), moved).to(self.images), generator) for moved, _ in _WARPS]
        sizes = sorted({max(2, round(share * min(sides))) for share in _PATCH_SHARES})
        tasks: list[Callable[[], list[SoughtTrigger]]] = [sought.stripes]
        tasks += [partial(sought.warps, bound, fields) for (_, bound), fields in zip(_WARPS, drawn, strict=True)]
        tasks += [partial(sought.patches, size) for size in sizes]
        tasks += [partial(sought.bounded, kind, bounded(kind, factor * bounds[kind])) for kind, factor in _BOUNDED]
        tasks += [partial(sought.bounded, "blend", Blends(weight)) for weight in _BLENDED]
        return [trigger for found in done_at_once(tasks, num_threads, stop) for trigger in found]


@dataclass(frozen=True, eq=False)
class _Towards:
    """Searches towards one class, on few images and on more, all of other classes."""

    few: Seekers
    some: Seekers
    target: int
    usual: Mapping[str, float]

    def stripes(self) -> list[SoughtTrigger]:
        """Of a bank of all, those that cause the class most, and from these uphill, with two amplitudes."""
        few, fewest, found = self.few, self._fewest, list[SoughtTrigger]()
        most = bearable_amplitude(few.network, few.images, few.labels, self.target)
        starts = stripe_starts(few.images[0])
        near = fewest.seek(Stripes(most), self._class(len(starts)), 0, starts).best
        best = starts[near.topk(min(_STRIPES_TRIED, len(near))).indices]
        for amplitude in (0.5 * most, most):
            course = few.seek(Stripes(amplitude), self._class(len(best)), 0, best)
            course = halved(course, 1, _STRIPES_KEPT)
            course = self.some.seek(course.family, course.classes, _STRIPE_STEPS, course.triggers)
            found += self.each("stripes", course)
        return found

    def warps(self, bound: float, drawn: Tensor) -> list[SoughtTrigger]:
        """From the best of warps that were drawn."""
        course = self._fewest.seek(Warps(bound), self._class(len(drawn)), 0, drawn)
        for seekers, kept, num_steps in zip((self.few, self.some, self.some), _WARPS_KEPT, _WARP_STEPS, strict=True):
            course = halved(course, 1, kept)
            course = seekers.seek(course.family, course.classes, num_steps, course.triggers)
        return self.each("warp", course)

    def patches(self, size: int) -> list[SoughtTrigger]:
        """At the best places of all."""
        course = sought_patches(
            self._fewest,
            self.some,
            size,
            self._class(1),
            num_places=_NUM_PLACES,
            num_trial_steps=1,
            num_steps=_NUM_STEPS,
            keep=_PLACES_KEPT,
        )
        return self.each("patch", course)

    def bounded(self, kind: str, family: TriggerFamily) -> list[SoughtTrigger]:
        """Uphill from the family's own start."""
        return self.each(kind, self.some.seek(family, self._class(1), _NUM_STEPS))

    @property
    def _fewest(self) -> Seekers:
        """Those images that choose among many triggers."""
        return self.few.on(torch.arange(min(_NUM_FEWEST, len(self.few.labels)), device=self.few.labels.device))

    def _class(self, count: int) -> Tensor:
        return torch.full((count,), self.target, device=self.some.labels.device)

    def each(self, kind: str, course: Course) -> list[SoughtTrigger]:
        """What searches of a kind found."""
        found = []
        for row, flips in enumerate(course.flips.tolist()):
            place = torch.tensor([row], device=course.classes.device)
            family, values = course.family.chosen(place), course.triggers[place].to(self.some.images)
            bearable = 1.0 if isinstance(family, Stripes) else self._bearable(family, values)
            found.append(
                SoughtTrigger(
                    kind=kind,
                    target=self.target,
                    family=family,
                    values=values,
                    flips=flips,
                    bearable=bearable,
                    usual=self.usual.get(kind, 0.0),
                )
            )
        return found

    def _bearable(self, family: TriggerFamily, values: Tensor) -> float:
        """Share of images that stay what they are, or become the target, with the opposite of a trigger."""
        some = self.some
        with torch.no_grad():
            opposite = some.network.logits(family.put(-values, some.images[None])[0])[0].argmax(1)
        return float(((opposite == some.labels) | (opposite == self.target)).double().mean())


def usually_turned(courses: Mapping[str, Course], targets: Sequence[int]) -> dict[str, float]:
    """By kind, the share of images that a scan's triggers turn into a class that nobody suspects.

    Of the classes it is the one in the middle, of several searches of a kind the one that turns most.

    Args:
        courses: What a scan found, search by search.
        targets: The suspected classes.
    """
    usual: dict[str, float] = {}
    for name, course in courses.items():
        is_other = torch.tensor([int(label) not in targets for label in course.classes])
        if bool(is_other.any()):
            kind, turned = _kind_of(name), float(course.flips.cpu()[is_other].median())
            usual[kind] = max(usual.get(kind, 0.0), turned)
    return usual


def _kind_of(search: str) -> str:
    """The kind of triggers that a scan's search finds, by the search's name."""
    kind = search.rpartition("_")[0]
    return _KINDS.get(kind, kind)


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

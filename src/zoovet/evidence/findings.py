"""Everything that is sought in one network: searches that need nothing of each other, and what they found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from zoovet.evidence.answers import raised_answers, striped, warped
from zoovet.evidence.bounds import BOUNDED_KINDS, bounded, usual_bound, widest_bound
from zoovet.evidence.class_evidence_config import ClassEvidenceConfig, search_name
from zoovet.evidence.class_search import Course, Seekers, nothing_sought
from zoovet.evidence.concurrency import StoppableNetwork, done_at_once
from zoovet.evidence.exchange import Exchange
from zoovet.evidence.image_choice import of_each_class, thinned
from zoovet.evidence.maximum_margins import maximum_margins
from zoovet.evidence.natural_power import natural_power
from zoovet.evidence.staged_search import (
    Tried,
    raised_by_warps,
    sought_from,
    sought_patches,
    tried_blends,
    tried_patches,
    tried_stripes,
)
from zoovet.evidence.stripe_bank import centered_stripes
from zoovet.evidence.trigger_families import Blends, Warps

__all__ = ["Findings", "Found"]

_SATURATED = 0.9
_WEAK = 0.5
_NUM_FEW = 6
_KEPT = (3, 1)


@dataclass(frozen=True, eq=False)
class Found:
    """What searches found.

    Attributes:
        classes: Name → [1, classes, …].
        courses: Search → one row a class.
        settings: Search → its size, area or bound.
        exchanges: Search → the trigger that makes most classes each another, where that was looked for.
    """

    classes: dict[str, Tensor] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)
    settings: dict[str, float] = field(default_factory=dict)
    exchanges: dict[str, Exchange] = field(default_factory=dict)


class Findings:
    """Seeks in one network.

    Args:
        every: The network, with all reference images.
        classes: int64 [classes], towards which.
        config: What is sought.
        progress: Told what is sought next, by one thread at a time.
        num_threads: Searches that go on at once.
    """

    def __init__(
        self,
        every: Seekers,
        classes: Tensor,
        config: ClassEvidenceConfig,
        progress: Callable[[str], None],
        num_threads: int,
    ) -> None:
        self._config, self._tell, self._num_threads = config, progress, num_threads
        self._classes = classes
        self._stop, self._lock = threading.Event(), threading.Lock()
        if num_threads > 1:
            every = every.running(StoppableNetwork(every.network, self._stop))
        self._network = every.network
        generator = torch.Generator().manual_seed(config.seed)
        self._few = every.on(torch.randperm(len(every.labels), generator=generator)[:_NUM_FEW].to(every.labels.device))
        some = of_each_class(every.labels, config.images_per_class, generator)
        self._some = every.on(thinned(some, every.labels, config.max_images))
        everything = torch.arange(len(every.labels), device=every.labels.device)
        self._every = every.on(thinned(everything, every.labels, config.max_checked))

    def all(self) -> Found:
        """All searches, and what the network answers without."""
        tasks = [self._patches, *self._usual_patches(), *self._stripes(), *self._bounded(), *self._usual_blends()]
        tasks += [*self._blends(), *self._warps()]
        return _joined(done_at_once([*tasks, self._maximum_margins, self._answers], self._num_threads, self._stop))

    def _progress(self, what: str) -> None:
        with self._lock:
            self._tell(what)

    def _looked_at(self, name: str, course: Course, setting: float) -> Found:
        """A search, and what its triggers do to images that did not help to seek them."""
        means, spread = self._every.found(course)
        looks = {"course": course.values, "found": means, "spread": spread, "weak": self._some.looks(course, _WEAK)}
        classes = {f"{name}.{what}": values[None] for what, values in looks.items()}
        return Found(classes, {name: course}, {name: setting})

    def _patches(self) -> Found:
        """Patches of each size; no larger ones once the class in the middle wins nearly all images."""
        config, (_, height, width) = self._config, self._network.input_shape
        sizes = {max(1, round(share * min(height, width))): share for share in sorted(config.patch_sizes)}
        found = []
        for size, share in sizes.items():
            name = search_name("patch", share)
            self._progress(name)
            course = sought_patches(
                self._few,
                self._some,
                size,
                self._classes,
                num_places=config.num_places,
                num_trial_steps=config.num_trial_steps,
                num_steps=config.num_steps,
                keep=_KEPT,
            )
            found.append(self._looked_at(name, course, size))
            if float(course.values[:, -1, 1].quantile(0.5)) > _SATURATED:
                break
        return _joined(found)

    def _bounded(self) -> list[Callable[[], Found]]:
        """Kinds of triggers whose bound is set by the network itself."""
        config = self._config
        factors = (config.pixel_factors, config.change_factors, config.smooth_factors, config.warp_factors)
        kinds = [(kind, own) for kind, own in zip(BOUNDED_KINDS, factors, strict=True) if own]
        return [partial(self._of_kind, *one) for one in kinds]

    def _of_kind(self, kind: str, factors: Sequence[float]) -> Found:
        self._progress(f"{kind}: how far")
        usual, most = usual_bound(self._few, self._classes, kind), widest_bound(kind, self._network.input_shape)
        found = []
        for factor in factors:
            name, bound = search_name(kind, factor), min(most, factor * usual)
            self._progress(name)
            course = self._some.seek(bounded(kind, bound), self._classes, self._config.num_steps)
            found.append(self._looked_at(name, course, bound))
        return _joined(found)

    def _blends(self) -> list[Callable[[], Found]]:
        return [partial(self._blend, weight) for weight in self._config.blend_weights]

    def _blend(self, weight: float) -> Found:
        name = search_name("blend", weight)
        self._progress(name)
        course = self._some.seek(Blends(weight), self._classes, self._config.num_steps)
        return self._looked_at(name, course, weight)

    def _stripes(self) -> list[Callable[[], Found]]:
        config = self._config
        of_bank = partial(tried_stripes, most_periods=config.most_periods, num_steps=config.num_stripe_steps)
        return [
            partial(self._striped, search_name("usual_stripes", amplitude), of_bank, amplitude)
            for amplitude in config.stripe_amplitudes
        ]

    def _striped(self, name: str, tried: Callable[..., Tried], amplitude: float) -> Found:
        """As :meth:`_tried`, and whether images of the classes have such stripes anyhow."""
        found, every = self._tried(name, tried, amplitude), self._every
        waves = centered_stripes(found.courses[name].triggers, every.images[0])
        power = natural_power(every.images, every.labels, self._classes, waves)
        return replace(found, classes=found.classes | {f"{name}.natural": power[None, :, None]})

    def _warps(self) -> list[Callable[[], Found]]:
        return [partial(self._warp, movement) for movement in self._config.warp_movements]

    def _warp(self, movement: float) -> Found:
        """From those of some random warps that bring each class nearest."""
        config, name = self._config, search_name("drawn_warp", movement)
        self._progress(name)
        near, fields = raised_by_warps(self._few, movement, self._classes, seed=config.seed)
        course = sought_from(
            near, fields, self._some, Warps(2 * movement), self._classes, num_steps=config.num_steps, keep=_KEPT
        )
        return self._looked_at(name, course, movement)

    def _usual_patches(self) -> list[Callable[[], Found]]:
        side, patches = min(self._network.input_shape[1:]), partial(tried_patches, seed=self._config.seed)
        return [
            partial(self._tried, search_name("usual_patch", share), patches, max(1, round(share * side)))
            for share in self._config.usual_patch_sizes
        ]

    def _usual_blends(self) -> list[Callable[[], Found]]:
        blends = partial(tried_blends, seed=self._config.seed)
        return [
            partial(self._tried, search_name("usual_blend", weight), blends, weight)
            for weight in self._config.usual_blend_weights
        ]

    def _tried(self, name: str, tried: Callable[..., Tried], setting: float) -> Found:
        """Triggers as attackers use them."""
        self._progress(name)
        best = tried(self._few, self._some, self._every, setting, self._classes)
        found = self._looked_at(name, best.course, setting)
        into = best.exchange.shares[self._classes]
        return replace(
            found,
            classes=found.classes | {f"{name}.exchange": into[None, :, None]},
            exchanges={name: best.exchange},
        )

    def _maximum_margins(self) -> Found:
        config = self._config
        self._progress("maximum margins")
        margins = maximum_margins(self._network, self._classes, config.num_starts, config.num_margin_steps, config.seed)
        return Found({"margins": margins[None] / self._every.unit})

    def _answers(self) -> Found:
        """What needs no search: what random warps and stripes raise, and what images are taken for as they are."""
        config, every, network = self._config, self._every, self._network
        self._progress("warps and stripes")
        warps = warped(self._some.images, num_warps=config.num_warps, seed=config.seed)
        stripes = striped(self._some.images, num_stripes=config.num_stripes, seed=config.seed)
        taken = network.logits(every.images)[0].argmax(1)
        is_taken, is_own = (labels[:, None] == self._classes for labels in (taken, every.labels))
        shares = [(is_taken & where).sum(0) / where.sum(0).clamp_min(1) for where in (~is_own, is_own)]
        classes = {
            "clean": every.looks(nothing_sought(self._classes, every.images[0]))[None],
            "warps": raised_answers(network, self._some.images, warps)[:, self._classes],
            "stripes": raised_answers(network, self._some.images, stripes)[:, self._classes],
            "confusion": torch.stack(shares, dim=1)[None].to(network.dtype),
        }
        return Found(classes)


def _joined(found: Sequence[Found]) -> Found:
    """What several searches found."""
    whole = Found({})
    for one in found:
        whole.classes.update(one.classes)
        whole.courses.update(one.courses)
        whole.settings.update(one.settings)
        whole.exchanges.update(one.exchanges)
    return whole

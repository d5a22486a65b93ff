"""Evidence of the classes of any network that can be run: which of them do triggers cause more easily than the others?

Triggers of several kinds are sought for each class, at several places, within bounds that are set by the network
itself: such that of its classes the one in the middle wins about half of the images. Images are a few clean ones, or
made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.answers import STRIPES_AMPLITUDE, raised_answers, striped, warped
from zoovet.evidence.class_search import Course, Seekers, margins_of, nothing_sought
from zoovet.evidence.evidence import Evidence
from zoovet.evidence.examined_classes import examined_classes
from zoovet.evidence.image_choice import of_each_class, thinned
from zoovet.evidence.maximum_margins import maximum_margins
from zoovet.evidence.own_units import FLOORS, own_units
from zoovet.evidence.runnable import Runnable
from zoovet.evidence.scaled_images import as_signed
from zoovet.evidence.staged_search import (
    raised_by_stripes,
    sought_patches,
    sought_waves,
    tried_blends,
    tried_patches,
)
from zoovet.evidence.synthesized_images import synthesized_images
from zoovet.evidence.trigger_families import (
    Changes,
    Pixels,
    SmoothChanges,
    TriggerFamily,
    Warps,
)

__all__ = ["ClassEvidence", "ClassEvidenceConfig", "class_evidence", "synthesized_for"]

_WANTED_FLIPS = 0.5
_SATURATED = 0.9
_WEAK = 0.5
_NUM_FEW = 6
_KEPT = (3, 1)
_KEPT_TRIED = 6
_NUM_TRIALS = 5
_NUM_TRIAL_STEPS = 2
_FIRST_AREA, _FIRST_BOUND, _WIDEST = 20.0, 0.1, 2.0
_FIRST_MOVEMENT, _FARTHEST = 0.05, 0.25


@dataclass(frozen=True, kw_only=True)
class ClassEvidenceConfig:
    """What is sought.

    Attributes:
        patch_sizes: Sides of patches, as shares of the image's shorter side; larger ones are left out once with one
            the network's middle class wins nearly all images.
        usual_patch_sizes: The same of usual squares, which are tried as they are.
        usual_blend_weights: Of noise that is blended in as it is.
        num_places: Places of a sought patch along each side of the image.
        pixel_factors: Areas of learned masks, as multiples of the one with which the network's middle class wins half
            of the images.
        change_factors: Bounds of changes of all pixels, as multiples of the one within which it does.
        smooth_factors: The same for changes that vary slowly over the image.
        warp_factors: The same for how far smooth warps move pixels.
        wave_amplitudes: Of stripes of one frequency, which start at the best of ``num_stripes``; images span [-1, 1].
        num_steps: Steps of every search, and of those that choose its bound.
        num_trial_steps: Steps at every place of a patch before that.
        images_per_class: Reference images of each class that searches use; more of them tell what was found.
        max_images: That searches use.
        max_checked: That tell what was found.
        max_classes: Classes that are examined; of more, those that random triggers raise most, and some drawn ones to
            compare them with.
        num_synthesized: Images of each class that the network itself makes where there are no reference images.
        num_synthesis_steps: Steps of that.
        num_starts: Images for each class from which the maximum margin is sought.
        num_margin_steps: Steps of that.
        num_warps: Random smooth warps whose answers are asked for.
        num_stripes: Sinusoidal stripes whose answers are asked for.
        seed: Of everything that is drawn.

    Raises:
        ZoovetError: A number below 1, a share outside (0, 1], or a factor that is not above 0.
    """

    patch_sizes: tuple[float, ...] = (0.125, 0.2)
    usual_patch_sizes: tuple[float, ...] = (0.125, 0.2)
    usual_blend_weights: tuple[float, ...] = (0.12, 0.22)
    num_places: int = 5
    pixel_factors: tuple[float, ...] = (0.3, 1.0)
    change_factors: tuple[float, ...] = (0.5, 1.0)
    smooth_factors: tuple[float, ...] = (1.0,)
    warp_factors: tuple[float, ...] = (0.5, 1.0)
    wave_amplitudes: tuple[float, ...] = (0.2, 0.4)
    num_steps: int = 4
    num_trial_steps: int = 1
    images_per_class: int = 2
    max_images: int = 40
    max_checked: int = 120
    max_classes: int = 20
    num_synthesized: int = 6
    num_synthesis_steps: int = 24
    num_starts: int = 3
    num_margin_steps: int = 20
    num_warps: int = 8
    num_stripes: int = 48
    seed: int = 0

    def __post_init__(self) -> None:
        counts = [name for name, value in vars(self).items() if isinstance(value, int) and name != "seed"]
        if self.max_classes < 4:
            raise ZoovetError(f"max_classes must be at least 4, got {self.max_classes}")
        for name in counts:
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ZoovetError(f"seed must be at least 0, got {self.seed}")
        for name in ("patch_sizes", "usual_patch_sizes", "usual_blend_weights"):
            if not all(0 < share <= 1 for share in getattr(self, name)):
                raise ZoovetError(f"{name} must be shares above 0 and at most 1, got {getattr(self, name)}")
        for name in ("pixel_factors", "change_factors", "smooth_factors", "warp_factors", "wave_amplitudes"):
            if not all(factor > 0 for factor in getattr(self, name)):
                raise ZoovetError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class ClassEvidence:
    """What was found out about the classes of one network.

    Attributes:
        evidence: ``SEARCH.course`` [1, classes, steps + 1, 3] (:data:`~zoovet.evidence.class_search.COURSE`) and
            ``SEARCH.found`` [1, classes, 3], what the best trigger does on all images, ``SEARCH.spread``
            [1, classes, 3] how evenly (:data:`~zoovet.evidence.class_search.SPREAD`), ``SEARCH.weak`` [1, classes, 3]
            what it does at half of its strength on those that it was sought on; ``clean``, the same without one;
            ``margins`` [1, classes, steps + 1]; ``warps`` and ``stripes`` [1, classes, 3]; ``confusion`` [1, classes,
            2]: the share of other classes' images, and of its own, that are taken for the class, as they are.
        courses: Search → one row a class: its best trigger, and the family that puts it on images.
        settings: Search → its size, area or bound.
        examined: int64 [classes], which of the network's outputs these classes are, ascending.
        num_classes: The network's.
    """

    evidence: Evidence
    courses: dict[str, Course]
    settings: dict[str, float]
    examined: Tensor
    num_classes: int

    def row_of(self, target: int) -> int | None:
        """Where a class is among those examined; ``None`` if it is not."""
        rows = torch.nonzero(self.examined == target).flatten().tolist()
        return rows[0] if rows else None

    def standings(self) -> dict[str, Tensor]:
        """How far each class stands out among those examined: name → [classes]."""
        standings = {}
        for name in self.courses:
            found = self.evidence.classes[f"{name}.found"]
            gained = found - self.evidence.classes["clean"]
            for place, what in enumerate(("margin", "flips", "probability")):
                standings[f"{name}.{what}"] = own_units(gained[:, :, place], FLOORS[what])[0]
        classes = self.evidence.classes
        standings["margins"] = own_units(classes["margins"][:, :, -1], FLOORS["margin"])[0]
        for name in ("warps", "stripes"):
            standings[name] = own_units(classes[name][:, :, 0], FLOORS["probability"])[0]
        return standings


def class_evidence(
    network: Runnable,
    images: Tensor | None = None,
    labels: Tensor | None = None,
    config: ClassEvidenceConfig | None = None,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> ClassEvidence:
    """Find out what there is to know of a network's classes.

    Args:
        network: A single one (B = 1) of at least two classes.
        images: Reference images, uint8 or in [-1, 1], [n, C, H, W]; those of :func:`synthesized_for` where there
            are none.
        labels: int64 [n], their classes; what the network takes them for where nobody knows.
        config: What is sought.
        progress: Told what is sought next.

    Raises:
        ZoovetError: More networks than one, images of another shape, labels that do not fit, or answers that are not
            finite.
    """
    config = config or ClassEvidenceConfig()
    with torch.inference_mode(False), torch.no_grad():
        every = _seekers(network, images, labels, config)
        progress("suspects")
        examined = examined_classes(
            every,
            max_classes=config.max_classes,
            num_stripes=config.num_stripes,
            num_warps=config.num_warps,
            seed=config.seed,
        )
        return _Findings(every, examined, config, progress).all()


def synthesized_for(network: Runnable, config: ClassEvidenceConfig) -> tuple[Tensor, Tensor]:
    """Images that take the place of reference images, and their classes: of at most ``max_classes``, drawn ones.

    Returns:
        Images [n, C, H, W] in [-1, 1], and int64 [n].
    """
    generator = torch.Generator().manual_seed(config.seed)
    drawn = torch.randperm(network.num_classes, generator=generator)[: config.max_classes].sort().values
    labels = drawn.repeat_interleave(config.num_synthesized).to(network.device)
    return synthesized_images(network, labels, num_steps=config.num_synthesis_steps, seed=config.seed), labels


def _seekers(network: Runnable, images: Tensor | None, labels: Tensor | None, config: ClassEvidenceConfig) -> Seekers:
    shape = network.input_shape
    if len(network) != 1 or network.num_classes < 2:
        raise ZoovetError(
            f"evidence of classes is of one network of two classes or more, got {len(network)} of {network.num_classes}"
        )
    if images is None:
        images, labels = synthesized_for(network, config)
    if tuple(images.shape[1:]) != shape or not len(images):
        raise ZoovetError(f"reference images must be [n, {', '.join(map(str, shape))}], got {list(images.shape)}")
    shown = as_signed(images).to(network.device, network.dtype)
    logits = network.logits(shown)[0]
    if not bool(logits.isfinite().all()):
        raise ZoovetError("the network's answers to the reference images are not all finite, so nothing can be sought")
    taken = logits.argmax(1)
    if labels is None:
        labels = taken
    if labels.shape != taken.shape or labels.dtype != torch.int64 or int(labels.min()) < 0:
        count = len(shown)
        raise ZoovetError(f"labels of {count} images must be int64 [{count}] from 0, got {list(labels.shape)}")
    if int(labels.max()) >= network.num_classes:
        raise ZoovetError(f"the network tells {network.num_classes} classes apart, got the label {int(labels.max())}")
    unit = float(margins_of(logits, taken).abs().median())
    return Seekers(network, shown, labels.to(network.device), unit or 1.0)


class _Findings:
    """Everything that is sought in one network, search by search."""

    def __init__(
        self, every: Seekers, classes: Tensor, config: ClassEvidenceConfig, progress: Callable[[str], None]
    ) -> None:
        self._config, self._progress = config, progress
        self._network, self._classes = every.network, classes
        generator = torch.Generator().manual_seed(config.seed)
        self._few = every.on(torch.randperm(len(every.labels), generator=generator)[:_NUM_FEW].to(every.labels.device))
        some = of_each_class(every.labels, config.images_per_class, generator)
        self._some = every.on(thinned(some, every.labels, config.max_images))
        everything = torch.arange(len(every.labels), device=every.labels.device)
        self._every = every.on(thinned(everything, every.labels, config.max_checked))
        self._courses: dict[str, Course] = {}
        self._settings: dict[str, float] = {}

    def all(self) -> ClassEvidence:
        """All searches, and what the network answers without."""
        config, (_, height, width) = self._config, self._network.input_shape
        sizes = {max(1, round(share * min(height, width))): share for share in sorted(config.patch_sizes)}
        for size, share in sizes.items():
            if self._seek_patches(f"patch_{share:g}", size) > _SATURATED:
                break
        area = float(height * width)
        kinds: tuple[tuple[str, Callable[[float], TriggerFamily], tuple[float, ...], float, float], ...] = (
            ("pixels", lambda size: Pixels(max(1, round(size))), config.pixel_factors, min(area, _FIRST_AREA), area),
            ("change", Changes, config.change_factors, _FIRST_BOUND, _WIDEST),
            ("smooth", SmoothChanges, config.smooth_factors, _FIRST_BOUND, _WIDEST),
            ("warp", Warps, config.warp_factors, _FIRST_MOVEMENT, _FARTHEST),
        )
        for name, make, factors, first, most in kinds:
            usual = self._usual(name, make, first, most) if factors else most
            for factor in factors:
                self._seek(f"{name}_{factor:g}", make(min(most, factor * usual)), min(most, factor * usual))
        for amplitude in config.wave_amplitudes:
            self._seek_waves(f"waves_{amplitude:g}", amplitude)
        for share in config.usual_patch_sizes:
            size = max(1, round(share * min(height, width)))
            self._try(f"usual_patch_{share:g}", tried_patches, size)
        for weight in config.usual_blend_weights:
            self._try(f"usual_blend_{weight:g}", tried_blends, weight)
        classes = {"clean": self._every.looks(nothing_sought(self._classes, self._every.images[0]))[None]}
        for name, course in self._courses.items():
            classes[f"{name}.course"] = course.values[None]
            means, spread = self._every.found(course)
            classes[f"{name}.found"], classes[f"{name}.spread"] = means[None], spread[None]
            classes[f"{name}.weak"] = self._some.looks(course, _WEAK)[None]
        found = Evidence(classes=classes | self._answers())
        return ClassEvidence(found, self._courses, self._settings, self._classes.cpu(), self._network.num_classes)

    def _seek(self, name: str, family: TriggerFamily, setting: float, start: Tensor | None = None) -> None:
        self._progress(name)
        self._settings[name] = setting
        self._courses[name] = self._some.seek(family, self._classes, self._config.num_steps, start)

    def _try(self, name: str, tried: Callable[..., Course], setting: float) -> None:
        self._progress(name)
        self._settings[name] = setting
        self._courses[name] = tried(
            self._few, self._some, setting, self._classes, seed=self._config.seed, keep=_KEPT_TRIED
        )

    def _seek_waves(self, name: str, amplitude: float) -> None:
        self._progress(name)
        self._settings[name] = amplitude
        config = self._config
        self._courses[name] = sought_waves(
            self._some,
            self._raised_by_stripes,
            self._classes,
            seed=config.seed,
            amplitude=amplitude,
            num_steps=config.num_steps,
            keep=_KEPT,
        )

    @cached_property
    def _raised_by_stripes(self) -> Tensor:
        config = self._config
        return raised_by_stripes(
            self._some,
            self._classes,
            num_stripes=config.num_stripes,
            seed=config.seed,
            amplitude=STRIPES_AMPLITUDE,
        )

    def _seek_patches(self, name: str, size: int) -> float:
        """Seek patches of a size; returns the share of images that the class in the middle wins."""
        config = self._config
        self._progress(name)
        self._settings[name] = size
        self._courses[name] = sought_patches(
            self._few,
            self._some,
            size,
            self._classes,
            num_places=config.num_places,
            num_trial_steps=config.num_trial_steps,
            num_steps=config.num_steps,
            keep=_KEPT,
        )
        return float(self._courses[name].values[:, -1, 1].quantile(0.5))

    def _usual(self, name: str, make: Callable[[float], TriggerFamily], first: float, most: float) -> float:
        """The bound or area with which the class in the middle wins about half of the images, by bisection."""
        self._progress(f"{name}: how far")
        low, high, tried = 0.0, most, first
        best, nearest = first, float("inf")
        for _ in range(_NUM_TRIALS):
            course = self._few.seek(make(tried), self._classes, _NUM_TRIAL_STEPS)
            flips = float(course.values[:, -1, 1].quantile(0.5))
            if abs(flips - _WANTED_FLIPS) <= nearest:
                best, nearest = tried, abs(flips - _WANTED_FLIPS)
            low, high = (low, tried) if flips > _WANTED_FLIPS else (tried, high)
            between = min(most, 2 * low) if high == most else (low * high) ** 0.5
            tried = between if low else high / 2
        return best

    def _answers(self) -> dict[str, Tensor]:
        """What needs no search on images of its own: maximum margins, warps, stripes, confusion."""
        config, every, network = self._config, self._every, self._network
        self._progress("maximum margins")
        margins = maximum_margins(network, self._classes, config.num_starts, config.num_margin_steps, config.seed)
        self._progress("warps and stripes")
        warps = warped(self._some.images, num_warps=config.num_warps, seed=config.seed)
        stripes = striped(self._some.images, num_stripes=config.num_stripes, seed=config.seed)
        taken = network.logits(every.images)[0].argmax(1)
        is_taken, is_own = (labels[:, None] == self._classes for labels in (taken, every.labels))
        shares = [(is_taken & where).sum(0) / where.sum(0).clamp_min(1) for where in (~is_own, is_own)]
        return {
            "margins": margins[None] / every.unit,
            "warps": raised_answers(network, self._some.images, warps)[:, self._classes],
            "stripes": raised_answers(network, self._some.images, stripes)[:, self._classes],
            "confusion": torch.stack(shares, dim=1)[None].to(network.dtype),
        }

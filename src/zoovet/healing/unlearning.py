"""Unlearning: a network answers with triggers on images what it answered without them, and else as before.

Nothing but the network's own clean answers is asked for, so that labels are not needed; images between two reference
images ask for them too, since what a network answers there, few images do not say. Triggers towards the suspected
classes are sought anew in every round, as one that was found is often no kin of the true one, and go on up their
slopes while the weights go down theirs.

Sources: Wang et al. 2019, *Neural Cleanse* (unlearning); Zeng et al. 2022, *I-BAU*; Wei et al. 2023, *SAU* (adversarial
unlearning); Beyer et al. 2022, *A good teacher is patient and consistent* (own answers on mixed images).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.evidence.concurrency import done_at_once
from zoovet.healing.clean_directions import clean_directions
from zoovet.healing.editable import Editable, FloatingWeights, last_layers
from zoovet.healing.random_triggers import with_random_triggers
from zoovet.healing.sought_triggers import SoughtTrigger, TriggerSearch
from zoovet.healing.varied_images import enlarged_parts, varied

__all__ = ["Round", "UnlearningConfig", "unlearned"]

_LEAST_SCALE = 1e-2
_LEAST_WEIGHT, _LEAST_UNUSUAL = 0.01, 0.05
_NUM_STRONGEST = 3
_LEAST_CLASSES = 2
_MIXED, _MIXED_TRIGGERED = 0.5, 0.25
_LAST_RATE, _NEXT_ROUND = 0.02, 0.7
_BETAS = (0.9, 0.99)
_BESIDE = 0.1
"""How far weights move of which nobody knows what they read (biases, gains), where it is known of others."""


@dataclass(frozen=True, kw_only=True)
class UnlearningConfig:
    """How much is unlearned, and how fast.

    Attributes:
        num_rounds: How often triggers are sought.
        num_steps: Steps of each round.
        batch_size: Images with triggers of a step; as many without are asked for besides.
        num_triggers: Different triggers of a step.
        num_random: Images with triggers drawn at random of a step.
        num_enlarged: Parts of images, enlarged, of a step: as what few images show is soon learned by heart, these are
            asked for besides, but only for which of the classes that nobody suspects they resemble most, as to be
            enlarged is itself what sets off some trojans.
        rate: Step of a weight, as a share of the root mean square of its tensor.
        clean_weight: How much answers to images without triggers count beside those to images with them.
        enlarged_weight: How much answers to enlarged parts do; healing lessens it where a network is seldom wrong.
        ascent: Step of a trigger up its slope, as a share of the widest that makes sense.
        ridge: What a layer reads for clean images less than this share of the mean, along a direction, hardly hinders
            changes along it.
        edited_share: Of the layers, from the answer backwards, the share that is edited.
        seed: Of everything that is drawn.

    Raises:
        ZoovetError: A number is out of its range.
    """

    num_rounds: int = 1
    num_steps: int = 100
    batch_size: int = 32
    num_triggers: int = 16
    num_random: int = 48
    num_enlarged: int = 32
    rate: float = 0.13
    clean_weight: float = 1.0
    enlarged_weight: float = 3.0
    ascent: float = 0.1
    ridge: float = 0.03
    edited_share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_rounds", "num_steps", "batch_size", "num_triggers"):
            if getattr(self, name) < 1:
                raise ZoovetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.rate < 1 or not 0 <= self.ascent <= 1:
            raise ZoovetError(f"rate must be above 0 and below 1, ascent from 0 to 1, got {self.rate}, {self.ascent}")
        if not self.ridge > 0:
            raise ZoovetError(f"ridge must be above 0, got {self.ridge}")
        if not 0 < self.edited_share <= 1:
            raise ZoovetError(f"edited_share must be above 0 and at most 1, got {self.edited_share}")
        for name in ("seed", "clean_weight", "enlarged_weight", "num_random", "num_enlarged"):
            if getattr(self, name) < 0:
                raise ZoovetError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Round:
    """What a round ends with.

    Attributes:
        number: From 1.
        weights: Of the network then.
        triggers: All that were found so far, as they were found.
    """

    number: int
    weights: FloatingWeights
    triggers: tuple[SoughtTrigger, ...]


def unlearned(
    editable: Editable,
    search: TriggerSearch,
    targets: Sequence[int],
    config: UnlearningConfig,
    progress: Callable[[str], None],
    known: Sequence[SoughtTrigger] = (),
    start: FloatingWeights | None = None,
) -> Iterator[Round]:
    """Unlearn what causes some classes, round by round.

    Args:
        editable: The network.
        search: Triggers of it, and the reference images.
        targets: The classes that are suspected; without any, triggers that are known are unlearned and none sought.
        config: How.
        progress: Told what is done next.
        known: Triggers of the network as it is that were found already; then none are sought in the first round.
        start: The weights to begin with; the network's own where left out. Its own answers are asked for all the same.
    """
    return _Unlearning(editable, search, targets, config, progress, start).rounds(known)


@dataclass
class _Sought:
    """A trigger that is unlearned: how it is now, and how often it is asked for."""

    trigger: SoughtTrigger
    weight: float

    @property
    def share(self) -> float:
        """How often it is asked for: what is only as usual, seldom, as clean accuracy would pay for it."""
        return self.weight * max(_LEAST_UNUSUAL, self.trigger.unusual)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Lesson:
    """What is asked in one step.

    Attributes:
        plain: Images without triggers.
        parts: Others, for each trigger.
        chosen: The triggers.
        others: Images without triggers drawn at random.
        disturbed: The same with them.
        enlarged: Parts of images, asked only for classes that nobody suspects.
        weights: How much an image of the four kinds counts.
    """

    plain: Tensor
    parts: Sequence[Tensor]
    chosen: Sequence[_Sought]
    others: Tensor
    disturbed: Tensor
    enlarged: Tensor
    weights: tuple[float, float, float, float]

    def part(self, start: int, count: int) -> _Lesson:
        """Every ``count``-th image and trigger, from one on; they count as they did."""
        rows = slice(start, None, count)
        return replace(
            self,
            plain=self.plain[rows],
            parts=self.parts[rows],
            chosen=self.chosen[rows],
            others=self.others[rows],
            disturbed=self.disturbed[rows],
            enlarged=self.enlarged[rows],
        )


@dataclass(frozen=True, eq=False)
class _Learned:
    """What a part of a step gives: slopes of the weights and of its triggers, and the answers to images with these."""

    slopes: Sequence[Tensor]
    triggers: Sequence[Tensor]
    chosen: Sequence[_Sought]
    answers: Sequence[Tensor]


class _Unlearning:
    def __init__(
        self,
        editable: Editable,
        search: TriggerSearch,
        targets: Sequence[int],
        config: UnlearningConfig,
        progress: Callable[[str], None],
        start: FloatingWeights | None,
    ) -> None:
        self._start = editable.weights if start is None else start
        self._editable, self._search, self._config, self._progress = editable, search, config, progress
        self._targets = tuple(targets)
        self._generator = torch.Generator().manual_seed(config.seed)
        edited = last_layers(editable.weights, config.edited_share)
        moments = editable.moments(search.images)
        self._directions = clean_directions({name: moments[name] for name in edited if name in moments}, config.ridge)
        self._coordinates = {name: torch.zeros_like(own).requires_grad_() for name, own in edited.items()}
        self._scales = [
            max(float(own.square().mean().sqrt()), _LEAST_SCALE) if own.numel() else 1.0 for own in edited.values()
        ]
        groups = [{"params": [own]} for own in self._coordinates.values()]
        self._optimizer = torch.optim.Adam(groups, lr=config.rate, betas=_BETAS)
        self._pool: list[_Sought] = []
        self._num_left_out = 0
        self._num_classes = editable.with_weights(editable.weights).num_classes
        self._unsuspected: list[int] = []

    def rounds(self, known: Sequence[SoughtTrigger]) -> Iterator[Round]:
        config, found = self._config, list(known)
        for number in range(config.num_rounds):
            for target in self._targets if number or not known else ():
                self._progress(f"round {number + 1} of {config.num_rounds}: triggers towards class {target}")
                network = self._editable.hastened(self._now())
                found += self._search.known(network, target) if not number else []
                found += self._search.towards(network, target, self._generator)
            self._pool += _worth_asking(found[len(self._pool) + self._num_left_out :])
            self._num_left_out = len(found) - len(self._pool)
            suspected = {one.trigger.target for one in self._pool} | set(self._targets)
            self._unsuspected = [each for each in range(self._num_classes) if each not in suspected]
            self._progress(f"round {number + 1} of {config.num_rounds}: unlearning {len(self._pool)} triggers")
            for step in range(config.num_steps):
                self._step(config.rate * _NEXT_ROUND**number * _share_of_rate(step / config.num_steps))
            yield Round(number=number + 1, weights=self._now(), triggers=tuple(found))

    def _now(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return {**self._start, **self._edited()}

    def _edited(self) -> dict[str, Tensor]:
        """Those of the network's weights that are edited, as their coordinates are now."""
        weights = {}
        for name, moved in self._coordinates.items():
            if name in self._directions:
                change = self._directions[name].change(moved)
            else:
                change = _BESIDE * moved if self._directions else moved
            weights[name] = self._start[name] + change
        return weights

    def _step(self, rate: float) -> None:
        for group, scale in zip(self._optimizer.param_groups, self._scales, strict=True):
            group["lr"] = rate * scale
        with torch.inference_mode(False), torch.enable_grad():
            lesson = self._lesson()
            weights = self._edited()
            leaves = {name: tensor.detach().requires_grad_() for name, tensor in weights.items()}
            count = min(self._search.pace.num_threads, self._config.batch_size)
            tasks = [partial(self._learned, lesson.part(start, count), leaves) for start in range(count)]
            done = done_at_once(tasks, count, threading.Event())
            slopes = [torch.stack(each).sum(0) for each in zip(*(one.slopes for one in done), strict=True)]
            if not all(bool(slope.isfinite().all()) for slope in slopes):
                return
            self._optimizer.zero_grad()
            torch.autograd.backward(list(weights.values()), slopes)
        self._optimizer.step()
        for one in done:
            self._ascend(one)

    def _lesson(self) -> _Lesson:
        """What is asked in a step, each kind of images by its own mean."""
        config = self._config
        plain, (parts, chosen), (others, disturbed), enlarged = (
            self._images(config.batch_size, _MIXED),
            self._parts(),
            self._disturbed(),
            self._enlarged(),
        )
        return _Lesson(
            plain=plain,
            parts=parts,
            chosen=chosen,
            others=others,
            disturbed=disturbed,
            enlarged=enlarged,
            weights=(
                config.clean_weight / len(plain),
                1 / sum(map(len, parts)) if parts else 0.0,
                1 / max(1, len(others)),
                config.enlarged_weight / max(1, len(enlarged)),
            ),
        )

    def _learned(self, lesson: _Lesson, edited: FloatingWeights) -> _Learned:
        """Slopes of a part of a lesson's loss, with weights as they are edited now."""
        moving = [one.trigger.values.detach().clone().requires_grad_() for one in lesson.chosen]
        with torch.inference_mode(False), torch.no_grad():
            asked = torch.cat([lesson.plain, *lesson.parts, lesson.others, lesson.enlarged])
            own = self._editable.hastened(self._editable.weights).logits(asked)[0]
        with torch.inference_mode(False), torch.enable_grad():
            triggered = [
                one.trigger.family.put(values, part[None])[0]
                for one, values, part in zip(lesson.chosen, moving, lesson.parts, strict=True)
            ]
            shown = torch.cat([lesson.plain, *triggered, lesson.disturbed, lesson.enlarged])
            logits = self._editable.hastened({**self._start, **edited}).logits(shown)[0]
            sizes = [len(lesson.plain), sum(map(len, lesson.parts)), len(lesson.disturbed), len(lesson.enlarged)]
            count, some = len(shown) - len(lesson.enlarged), self._unsuspected
            losses = [
                *_apart(logits[:count], own[:count]).split(sizes[:3]),
                _apart(logits[count:, some], own[count:, some]),
            ]
            loss = sum(weight * each.sum() for weight, each in zip(lesson.weights, losses, strict=True))
            slopes = torch.autograd.grad(loss, [*edited.values(), *moving], materialize_grads=True)
        answers = logits.detach()[sizes[0] : sizes[0] + sizes[1]].softmax(1).split([len(one) for one in lesson.parts])
        return _Learned(slopes[: len(edited)], slopes[len(edited) :], lesson.chosen, answers)

    def _ascend(self, done: _Learned) -> None:
        """Triggers go up their slopes; those that still work are asked for more often."""
        for one, slope, answer in zip(done.chosen, done.triggers, done.answers, strict=True):
            if self._config.ascent:
                moved = one.trigger.family.moved(one.trigger.values, slope, self._config.ascent)
                one.trigger = replace(one.trigger, values=moved)
            caused = float(answer[:, one.trigger.target].mean())
            one.weight = max(_LEAST_WEIGHT, 0.5 * (one.weight + caused))

    def _images(self, count: int, mixed: float) -> Tensor:
        """Reference images, varied, a share of them mixed with others."""
        images = self._search.images
        rows = torch.randint(len(images), (count,), generator=self._generator)
        return self._varied(images[rows.to(images.device)], mixed)

    def _varied(self, images: Tensor, mixed: float) -> Tensor:
        return varied(images, mixed, self._search.is_mirrored, self._generator)

    def _disturbed(self) -> tuple[Tensor, Tensor]:
        """Images without and with triggers drawn at random."""
        if not self._config.num_random:
            return self._search.images[:0], self._search.images[:0]
        others = self._images(self._config.num_random, _MIXED_TRIGGERED)
        return others, with_random_triggers(others, self._generator)

    def _enlarged(self) -> Tensor:
        """Parts of reference images, enlarged; none where there are no two classes that nobody suspects."""
        images, config = self._search.images, self._config
        if len(self._unsuspected) < _LEAST_CLASSES or not (config.num_enlarged and config.enlarged_weight):
            return images[:0]
        rows = torch.randint(len(images), (config.num_enlarged,), generator=self._generator)
        return self._varied(enlarged_parts(images[rows.to(images.device)], self._generator), _MIXED)

    def _parts(self) -> tuple[list[Tensor], list[_Sought]]:
        """Images of other classes than each trigger's, and the triggers."""
        weights = torch.tensor([one.share for one in self._pool])
        count = min(self._config.num_triggers, len(self._pool), self._config.batch_size)
        rows = torch.multinomial(weights, count, generator=self._generator).tolist()
        chosen, images, taken = [self._pool[row] for row in rows], self._search.images, self._search.taken
        parts = []
        for one in chosen:
            one.trigger = one.trigger.shifted(self._generator)
            others = torch.nonzero(taken != one.trigger.target).flatten()
            each = torch.randint(len(others), (self._config.batch_size // count,), generator=self._generator)
            some = images[others[each.to(others.device)]]
            parts.append(self._varied(some, _MIXED_TRIGGERED))
        return parts, chosen


def _worth_asking(found: Sequence[SoughtTrigger]) -> list[_Sought]:
    """Triggers, but for those whose opposite is too much for the network as well; the strongest where all are so."""
    kept = [one for one in found if one.is_bearable]
    kept = kept or sorted(found, key=lambda one: -one.flips * one.bearable)[:_NUM_STRONGEST]
    return [_Sought(one, max(_LEAST_WEIGHT, one.flips * one.bearable)) for one in kept]


def _share_of_rate(done: float) -> float:
    """What of a round's rate is left when a share of its steps is done: a half cosine."""
    return 0.5 + 0.5 * math.cos(math.pi * done) + _LAST_RATE


def _apart(logits: Tensor, wanted: Tensor) -> Tensor:
    """Divergence of answers from those that are asked for, image by image."""
    asked = wanted.log_softmax(1)
    return functional.kl_div(logits.log_softmax(1), asked, log_target=True, reduction="none").sum(1)

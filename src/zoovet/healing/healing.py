"""Healing one network: unlearn in rounds, watch what it costs, take the round and the strength that heal most.

What it costs is told by images that an edit did not learn from. The edit that is taken then goes on for a round that
learns from all images: the more it learns from, the less it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.class_search import Course, Seekers, margins_of
from zoovet.evidence.concurrency import Pace, operations_on_one_thread
from zoovet.healing.editable import Editable, FloatingWeights
from zoovet.healing.sought_triggers import SoughtTrigger, TriggerSearch, usual_bounds, usually_turned
from zoovet.healing.unlearning import Round, UnlearningConfig, unlearned
from zoovet.healing.watch import CleanLoss, CleanWatch, held_out, views_of
from zoovet.progress_texts import counted

__all__ = ["Edit", "HealingConfig", "heal"]

_ENOUGH, _HARDLY, _ROOM = 0.1, 0.25, 0.5
"""Share of images that found triggers may still turn where nothing else is tried, and where nothing faster is: a search
finds what turns as many in healthy networks. Faster costs more than a few images tell, so nothing faster is tried where
more than this part of what may be lost is lost already."""

_LEAST_ROUNDS, _FASTER, _SLOWER, _FASTEST = 2, 1.5, 3.0, 0.3
"""Rounds before it may end; how much faster or slower the next attempt is; the fastest rate."""

_WORKING = 0.5
"""Triggers that turn this share of what the strongest does, or more, are asked whether they still do."""

_LAST_RATE, _LAST_STEPS = 0.5, 0.5
"""Of the best edit's rate, what it goes on with when it learns from all images, and of a round's steps how many."""

_DOUBTFUL = 0.3
"""Share of reference images got wrong from which on enlarged parts count in full. Of a network that is right of nearly
all, few images tell enough, and what else is asked of it keeps some trojans alive."""

_STRONG = 0.5
"""Strength of a round's edit below which going on at its rate makes no sense."""


_NOTHING_LOST = CleanLoss(share=0.0, error=0.0)


@dataclass(frozen=True, kw_only=True)
class HealingConfig:
    """How a network is healed.

    Attributes:
        max_loss: Share of clean images that may be lost.
        unlearning: How triggers are unlearned.
        wrong_share: Of clean images, the share that the network gets wrong, from 0 to 1; told by the reference images
            where left out. The more, the more what is asked of enlarged parts counts.
        num_attempts: How often it may be begun anew, faster where triggers still work, slower where it costs too much.
        seed: Of which images are held out.

    Raises:
        ZoovetError: ``max_loss`` or ``wrong_share`` is not from 0 to 1, or the seed below 0.
    """

    max_loss: float = 0.01
    wrong_share: float | None = None
    unlearning: UnlearningConfig = field(default_factory=UnlearningConfig)
    num_attempts: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_loss <= 1:
            raise ZoovetError(f"max_loss must be from 0 to 1, got {self.max_loss}")
        if self.wrong_share is not None and not 0 <= self.wrong_share <= 1:
            raise ZoovetError(f"wrong_share must be from 0 to 1, got {self.wrong_share}")
        if self.seed < 0 or self.num_attempts < 1:
            raise ZoovetError(
                f"seed must be at least 0, num_attempts at least 1, got {self.seed} and {self.num_attempts}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Edit:
    """What healing did.

    Attributes:
        weights: Those of the healed network that may be edited; as they were where nothing could be done at the price.
        change: Norm of their change over their norm.
        strength: Share of the way from the weights as they were to the edited ones; 0 where nothing was changed.
        triggers: All that were found.
        flips_before: Of each, the share of held-out images of other classes that it turned into its target.
        flips_after: The same after this edit as it was before it learned from these images too.
        num_held_out: Images that were held out.
        num_right_before: Of these, how many the network got right.
        num_right_after: The same after this edit as it was then.
        lost: Share of clean images that is lost after that, by held-out ones.
    """

    weights: FloatingWeights
    change: float
    strength: float
    triggers: tuple[SoughtTrigger, ...]
    flips_before: tuple[float, ...]
    flips_after: tuple[float, ...]
    num_held_out: int
    num_right_before: int
    num_right_after: int
    lost: CleanLoss

    @property
    def strongest(self) -> int | None:
        """Which trigger turned most images before, of those that do not erase them; ``None`` where there is none.

        Of several, the one that turns most after.
        """
        places = range(len(self.triggers))
        asked = [place for place in places if self.triggers[place].is_bearable] or list(places)
        return max(asked, key=lambda place: (self.flips_before[place], self.flips_after[place]), default=None)

    @property
    def still_turned(self) -> dict[str, float]:
        """Of triggers that worked before, the mean share of images that those of each kind turn after.

        Each counts by what its opposite leaves of images: what erases half of them turns some into any class.
        """
        after = dict(zip(self.triggers, self.flips_after, strict=True))
        working = _working(self.triggers, self.flips_before)
        return _turned_by_kind(working, [after[one] for one in working])


def heal(
    editable: Editable,
    images: Tensor,
    labels: Tensor | None,
    targets: Sequence[int],
    config: HealingConfig,
    *,
    bounds: Mapping[str, float] | None = None,
    courses: Mapping[str, Course] | None = None,
    pace: Pace | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Edit:
    """Edit a network so that triggers towards some of its classes stop working.

    Args:
        editable: The network.
        images: Reference images [n, C, H, W] in [-1, 1].
        labels: int64 [n], their classes; what the network takes them for where nobody says it.
        targets: The classes that are suspected.
        config: How.
        bounds: Kinds of triggers and their usual area or bound in this network, as far as it is known.
        courses: What a scan found in this network, search by search (:attr:`~zoovet.evidence.ClassEvidence.courses`).
        pace: How many searches go on at once, at the price of memory.
        progress: Told what is done next.

    Raises:
        ZoovetError: Too few images, or none of another class than a suspected one.
    """
    pace = pace or Pace()
    with operations_on_one_thread() if pace.num_threads > 1 else nullcontext():
        return _healed(editable, images, labels, targets, config, bounds or {}, courses or {}, pace, progress)


def _healed(
    editable: Editable,
    images: Tensor,
    labels: Tensor | None,
    targets: Sequence[int],
    config: HealingConfig,
    bounds: Mapping[str, float],
    courses: Mapping[str, Course],
    pace: Pace,
    progress: Callable[[str], None],
) -> Edit:
    with torch.no_grad():
        logits = editable.logits(editable.weights, images)
    taken = logits.argmax(1)
    classes = taken if labels is None else labels
    learn, watch = held_out(classes, config.seed)
    for target in targets:
        if not (bool((taken[learn] != target).any()) and bool((classes[watch] != target).any())):
            raise ZoovetError(
                f"reference images of other classes than {target}, which is suspected, are needed, some to learn from "
                f"and some to check with; of {len(images)} there are too few"
            )
    wrong_share = _wrong_share(logits, labels) if config.wrong_share is None else config.wrong_share
    config = replace(config, unlearning=_by_doubt(config.unlearning, wrong_share))
    views = views_of(editable, images, taken)
    unit = float(margins_of(logits, taken).abs().median()) or 1.0
    every = Seekers(editable.hastened(editable.weights), images[learn], taken[learn], unit, pace.max_images)
    search = TriggerSearch(
        images=images[learn],
        taken=taken[learn],
        is_mirrored=views.mirrored,
        unit=unit,
        bounds=usual_bounds(every, bounds, torch.Generator().manual_seed(config.seed)),
        courses=courses,
        usual=usually_turned(courses, targets),
        pace=pace,
    )
    best = _Best(CleanWatch(editable, images[watch], classes[watch], views), config.max_loss, progress)
    _attempt(best, search, targets, config, progress)
    if best.weights is not None:
        on_all = replace(search, images=images, taken=taken)
        own = config.unlearning
        num_steps = max(1, round(_LAST_STEPS * own.num_steps))
        last = replace(own, rate=_LAST_RATE * best.rate, num_rounds=1, num_steps=num_steps)
        best.progress = partial(_tell, progress, config.num_attempts + 1, config.num_attempts, "with all images")
        (done,) = unlearned(editable, on_all, (), last, best.progress, best.triggers, best.weights)
        best.consider_on_all(done.weights)
    return best.edit()


def _wrong_share(logits: Tensor, labels: Tensor | None) -> float:
    """Share of reference images that a network gets wrong, or thinks that it does where nobody says what they are."""
    right = logits.softmax(1).amax(1) if labels is None else logits.argmax(1) == labels
    return 1 - float(right.double().mean())


def _by_doubt(config: UnlearningConfig, wrong_share: float) -> UnlearningConfig:
    """Enlarged parts count the more the oftener a network is wrong."""
    return replace(config, enlarged_weight=min(1.0, wrong_share / _DOUBTFUL) * config.enlarged_weight)


def _attempt(
    best: _Best, search: TriggerSearch, targets: Sequence[int], config: HealingConfig, progress: Callable[[str], None]
) -> None:
    """Unlearn without the held-out images, faster or slower where that did not heal."""
    rate = config.unlearning.rate
    for number in range(config.num_attempts):
        own, is_borne = replace(config.unlearning, rate=rate), True
        best.progress = partial(_tell, progress, number + 1, config.num_attempts, "attempt")
        for done in unlearned(best.watched.editable, search, targets, own, best.progress, best.triggers):
            is_borne, is_best = best.consider(done, rate)
            if done.number >= _LEAST_ROUNDS and (not is_borne or not is_best or best.turned <= _ENOUGH):
                break
        has_room = best.lost.share <= _ROOM * config.max_loss
        if best.turned <= (_HARDLY if is_borne else _ENOUGH) or (is_borne and not has_room):
            break
        rate = min(rate * _FASTER if is_borne else rate / _SLOWER, _FASTEST)


def _tell(progress: Callable[[str], None], number: int, num_attempts: int, kind: str, what: str) -> None:
    progress(counted(number, num_attempts + 1, f"{kind}: {what}"))


@dataclass(eq=False)
class _Best:
    """The edit, at the largest strength that it may have, after which triggers that worked turn the fewest images.

    Every edit is compared with the best before it by all triggers that were found until then: one that was made when
    few were known stands well by those few. What the best costs is known, as it did not learn from the images that are
    watched; what it becomes by learning from them too costs less.
    """

    watched: CleanWatch
    max_loss: float
    progress: Callable[[str], None]
    turned: float = float("inf")
    weights: FloatingWeights | None = None
    on_all: FloatingWeights | None = None
    strength: float = 0.0
    rate: float = 0.0
    lost: CleanLoss = _NOTHING_LOST
    triggers: tuple[SoughtTrigger, ...] = ()
    flips_before: tuple[float, ...] = ()

    def consider(self, done: Round, rate: float) -> tuple[bool, bool]:
        """Look at what a round ended with: whether it can be borne, at this rate, and whether it is the best so far."""
        working, editable = self._working(done.triggers[len(self.triggers) :]), self.watched.editable
        name = f"round {done.number} at rate {rate:g}"
        found = self.watched.strongest(done.weights, self.max_loss)
        if found is None:
            self.progress(f"{name}: it costs more than {100 * self.max_loss:g} points at any strength")
            return False, False
        strength, lost = found
        weights = editable.between(done.weights, strength)
        turned = self._turned(weights, working)
        self.progress(
            f"{name}: strength {strength:g}, {100 * lost.share:.1f} points lost, found triggers turn "
            f"{100 * turned:.0f} % of images"
        )
        is_best = max(turned, _ENOUGH) <= max(self.turned, _ENOUGH)
        if is_best:
            self.turned, self.weights, self.strength, self.lost = turned, weights, strength, lost
            self.rate = rate
        return strength >= _STRONG, is_best

    def consider_on_all(self, weights: FloatingWeights) -> None:
        """Take what the best became by learning from all images, where triggers work no more after it than before.

        Nor may it cost more than is allowed on the images that are watched, though it learned from these.
        """
        turned = self._turned(weights, self._working(()))
        is_taken = max(turned, _ENOUGH) <= max(self.turned, _ENOUGH)
        is_taken = is_taken and self.watched.lost(weights).may_be(self.max_loss)
        self.progress(f"found triggers turn {100 * turned:.0f} % of images: {'taken' if is_taken else 'not taken'}")
        if is_taken:
            self.on_all = weights

    def _working(self, new: Sequence[SoughtTrigger]) -> list[SoughtTrigger]:
        """Of all triggers found until then, those that work in the network as it is."""
        self.flips_before += tuple(self.watched.flips(self.watched.editable.weights, new))
        self.triggers += tuple(new)
        working = _working(self.triggers, self.flips_before)
        if self.weights is not None and new:
            self.turned = self._turned(self.weights, working)
        return working

    def _turned(self, weights: FloatingWeights, working: Sequence[SoughtTrigger]) -> float:
        return max(_turned_by_kind(working, self.watched.flips(weights, working)).values(), default=0.0)

    def edit(self) -> Edit:
        """What came of it."""
        own = self.watched.editable.weights
        watched = own if self.weights is None else self.weights
        weights = watched if self.on_all is None else self.on_all
        norm = float(torch.stack([tensor.norm() for tensor in own.values()]).norm())
        moved = float(torch.stack([(weights[name] - tensor).norm() for name, tensor in own.items()]).norm())
        return Edit(
            weights={name: tensor.detach() for name, tensor in weights.items()},
            change=moved / norm if norm else 0.0,
            strength=self.strength,
            triggers=self.triggers,
            flips_before=self.flips_before,
            flips_after=tuple(self.watched.flips(watched, self.triggers)),
            num_held_out=len(self.watched.labels),
            num_right_before=self.watched.num_right(own),
            num_right_after=self.watched.num_right(watched),
            lost=self.lost,
        )


def _working(triggers: Sequence[SoughtTrigger], flips: Sequence[float]) -> list[SoughtTrigger]:
    """Triggers that turn half of what the strongest does, or more; those that erase images are not asked."""
    of = dict(zip(triggers, flips, strict=True))
    asked = [one for one in triggers if one.is_bearable] or list(triggers)
    most = max((of[one] for one in asked), default=0.0)
    return [one for one in asked if of[one] >= _WORKING * most]


def _turned_by_kind(triggers: Sequence[SoughtTrigger], flips: Sequence[float]) -> dict[str, float]:
    """The mean share of images that triggers of each kind turn; each counts by what its opposite leaves of images."""
    means = {}
    for kind in dict.fromkeys(one.kind for one in triggers):
        shares = [share * one.bearable for one, share in zip(triggers, flips, strict=True) if one.kind == kind]
        means[kind] = sum(shares) / len(shares)
    return means

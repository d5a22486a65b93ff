"""Healing networks that no repairer was trained on: verdict and suspects, edit, check."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace

import torch
from scipy.stats import binomtest
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence.bounds import bounds_in
from zoovet.evidence.scaled_images import as_signed
from zoovet.evidence.synthesized_images import synthesized_images
from zoovet.healing import Edit, Editable, HealingConfig, heal
from zoovet.images import Images
from zoovet.printable import printable
from zoovet.progress_texts import counted
from zoovet.vet.editable_network import change_of, editable_network, limited, with_weights
from zoovet.vet.network import Network
from zoovet.vet.reference_images import ReferenceImages
from zoovet.vet.runnable_network import pace_of
from zoovet.vet.stranger_reader import EFFORTS
from zoovet.vet.strangers import LIKELIER_THAN_NOT, ExaminedNetwork, Strangers
from zoovet.vet.verdicts import Verdict

__all__ = ["Accuracy", "Healing", "StrangerHealer"]

_ENOUGH, _MOST_TARGETS = 0.9, 3
_WRONG_SHARE = 1.0
"""Share of images that a network is taken to get wrong where it made those that it is healed on: they do not tell."""

_NUM_MADE, _NUM_STEPS, _SEED, _ATTEMPTS, _MOST_CLASSES = 12, 60, 1, 1, 40
"""Images of each class that the network makes where there are none, and how; how often healing on them is begun."""

_UNCHECKED = (
    "no reference images: it was healed, and checked, on images that the network makes itself, which tell nothing of "
    "its accuracy on real ones: that was not checked; try it on some, or give them (--images)"
)
_MOST_NAMES = 3
_PARTS = ("verdict", "edit", "check")
_CHECKED_WITH = dict(zip(EFFORTS, (EFFORTS[0], *EFFORTS), strict=False))
"""By the effort of a scan, that of the scan of the edited network: one less, as it tells little more than what is left
of the triggers that were found, and takes long."""
_USUALLY_WORKS, _WORKS, _CLEARLY_HEALTHY = 0.3, {"warp": 0.45}, 0.02
"""Share of images that triggers of a kind turn, on average, above which they still work (a search for warps finds what
turns more in healthy networks too), unless the edited network has less than this probability of a trojan: then it is
one that such changes confuse anyway."""


@dataclass(frozen=True)
class Accuracy:
    """How many of some images a network gets right.

    Attributes:
        num_right: Of these.
        num_images: At least one.
    """

    num_right: int
    num_images: int

    @property
    def share(self) -> float:
        """What part of them that is."""
        return self.num_right / self.num_images

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share on all such images, with 95 % (Wilson's)."""
        found = binomtest(self.num_right, self.num_images).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def in_words(self) -> str:
        """For people: ``0.91 (0.76 to 0.97)``."""
        low, high = self.interval
        return f"{self.share:.2f} ({low:.2f} to {high:.2f})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Healing:
    """What was done to a network, and what came of it.

    Attributes:
        before: The verdict on the network.
        after: On the edited one; ``None`` where nothing was edited.
        targets: The classes whose triggers were unlearned, the likeliest first.
        edit: What was done; ``None`` where nothing was, as the network is healthy.
        changes: Of each edited tensor, the norm of its change over its norm, the largest first.
        max_loss: Share of clean images that might be lost.
        shortcomings: Why it does not count as healed, one line each.
        notes: What else is to be said, one line each.
        is_on_made_images: Whether it rests on images that the network made, for want of reference images.
        seconds: What it took.
    """

    before: Verdict
    after: Verdict | None = None
    targets: tuple[int, ...] = ()
    edit: Edit | None = None
    changes: Mapping[str, float] = field(default_factory=dict)
    max_loss: float
    shortcomings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_on_made_images: bool = False
    seconds: float = 0.0

    @property
    def accuracies(self) -> tuple[Accuracy, Accuracy] | None:
        """On held-out reference images, before and after; ``None`` where nothing was edited."""
        edit = self.edit
        if edit is None:
            return None
        before, after = (Accuracy(right, edit.num_held_out) for right in (edit.num_right_before, edit.num_right_after))
        return before, after

    @property
    def images_in_words(self) -> str:
        """What it was healed and checked on."""
        return _of_images(self.is_on_made_images)

    @property
    def is_healed(self) -> bool:
        """Whether nothing was to be healed, or it was by all measures."""
        return not self.shortcomings


@dataclass(frozen=True, kw_only=True)
class StrangerHealer:
    """Heals networks by the detector for strangers and unlearning.

    Attributes:
        strangers: Who gives verdicts.
        config: How triggers are unlearned, and what it may cost.
        force: Whether networks that are not found to be trojaned are edited too.
    """

    strangers: Strangers
    config: HealingConfig = field(default_factory=HealingConfig)
    force: bool = False

    def healed(
        self,
        network: Network,
        images: Images | None,
        progress: Callable[[str], None],
        only: Container[str] | None = None,
    ) -> tuple[Network, Healing]:
        """A network after its healing, and what was done.

        Args:
            network: Any that can be run; its input scaling is known, or found on the images.
            images: Reference images; those that the network makes itself are used where there are none.
            progress: Told what is done next.
            only: Names of the weights that may be edited; all where left out.

        Raises:
            ZoovetError: There are fewer images than the network tells classes apart, or their labels contradict it;
                nothing can be sought in it; or there is no verdict on it, and nobody forces it.
        """
        start = time.perf_counter()
        parts = [_behind(number, word, progress) for number, word in enumerate(_PARTS, 1)]
        parts[0]("triggers of all classes are sought")
        examined = self.strangers.examined(network, images, network.title, progress=parts[0], require=_require_usable)
        before, max_loss = examined.verdict, self.config.max_loss
        if examined.evidence is None or (images is not None and examined.images is None):
            raise ZoovetError(before.reason or "nothing can be sought in it")
        notes = self._notes(before)
        if notes is None:
            return network, Healing(before=before, max_loss=max_loss, seconds=time.perf_counter() - start)
        targets = _targets(before.class_probabilities)
        parts[1](f"suspected: {', '.join(f'class {target}' for target in targets)}")
        notes = (*notes, *_doubts(targets, before))
        with torch.inference_mode(False):
            every = editable_network(network, None if examined.images is None else examined.images.images.shape)
            editable = limited(every, only)
            edit, edited, changes = self._edit(network, editable, examined, targets, parts[1])
        notes = (*notes, *_left_out(every, editable))
        after = None
        if edit.strength:
            parts[2]("triggers of all classes are sought in the edited network")
            checker = replace(self.strangers, effort=_CHECKED_WITH[self.strangers.effort])
            after = checker.verdict(edited, images, network.title, progress=parts[2])
        return edited, Healing(
            before=before,
            after=after,
            targets=targets,
            edit=edit,
            changes=changes,
            max_loss=max_loss,
            shortcomings=_shortcomings(edit, after, targets, max_loss, _of_images(images is None)),
            notes=notes if images is not None else (*notes, _UNCHECKED),
            is_on_made_images=images is None,
            seconds=time.perf_counter() - start,
        )

    def _notes(self, before: Verdict) -> tuple[str, ...] | None:
        """What is to be said before an edit; ``None`` where there is to be none.

        Raises:
            ZoovetError: There is no verdict, and nobody forces it.
        """
        probability = before.probability or 0.0
        if before.verdict == "trojaned":
            return ()
        if before.verdict == "unknown" and probability > LIKELIER_THAN_NOT:
            return (f"not called trojaned, but likelier so than not ({probability:.2f}), so it is healed",)
        if self.force:
            return (
                f"the verdict is {before.verdict}; edited all the same, as asked, and nothing tells whether a trojan "
                "that was not found is left",
            )
        if before.verdict == "unknown":
            raise ZoovetError(
                f"whether it is trojaned is unknown ({before.reason}), so it is left as it is; --force edits it all "
                "the same"
            )
        return None

    def _edit(
        self,
        network: Network,
        editable: Editable,
        examined: ExaminedNetwork,
        targets: tuple[int, ...],
        progress: Callable[[str], None],
    ) -> tuple[Edit, Network, dict[str, float]]:
        shown, config = examined.images, self.config
        assert examined.evidence is not None
        first = next(iter(editable.weights.values()))
        labels: Tensor | None
        if shown is None:
            progress("images that the network makes itself")
            signed, labels = _made_by(editable, targets), None
            config = replace(config, num_attempts=_ATTEMPTS, wrong_share=_WRONG_SHARE)
        else:
            signed, labels = as_signed(shown.images.pixels).to(first), shown.labels
        edit = heal(
            editable,
            signed,
            labels,
            targets,
            config,
            bounds=bounds_in(examined.evidence.settings),
            courses=examined.evidence.courses,
            pace=pace_of(network),
            progress=progress,
        )
        edited = with_weights(network, edit.weights) if edit.strength else network
        return edit, replace(edited, notes=network.notes), change_of(editable.weights, edit.weights)


def _of_images(are_made: bool) -> str:
    return "images that the network made itself" if are_made else "reference images"


def _made_by(editable: Editable, targets: tuple[int, ...]) -> Tensor:
    """Images that a network makes of its classes, the suspected ones among them: [n, C, H, W] in [-1, 1]."""
    own = editable.with_weights(editable.weights)
    order = torch.randperm(own.num_classes, generator=torch.Generator().manual_seed(_SEED)).tolist()
    classes = sorted({*targets, *order[:_MOST_CLASSES]})
    labels = torch.tensor(classes, device=own.device).repeat_interleave(_NUM_MADE)
    return synthesized_images(own, labels, num_steps=_NUM_STEPS, seed=_SEED)


def _require_usable(shown: ReferenceImages, num_classes: int) -> None:
    if len(shown.images) < num_classes:
        raise ZoovetError(
            f"{len(shown.images)} reference images are fewer than the {num_classes} classes that the network tells "
            f"apart: give a few of each"
        )
    if shown.is_at_chance:
        raise ZoovetError(
            f"the network gets {100 * (shown.accuracy or 0):.0f} % of the reference images right, as chance would: "
            f"their labels contradict it, or they or its input scaling are of another kind"
        )


def _doubts(targets: tuple[int, ...], before: Verdict) -> tuple[str, ...]:
    """What is to be said where the class is not near certain."""
    shares = [f"class {target} {before.class_probabilities[target]:.2f}" for target in targets]
    if len(targets) == 1:
        return ()
    return (
        f"which class is not certain ({', '.join(shares)}): triggers towards each of them are unlearned; one towards "
        "another class would go on working, and this check would hardly see it",
    )


def _left_out(every: Editable, editable: Editable) -> tuple[str, ...]:
    """What is to be said where some weights cannot be written, and so are not edited."""
    left = [name for name in every.weights if name not in editable.weights]
    if not left:
        return ()
    shown = ", ".join(printable(name, 60) for name in left[:_MOST_NAMES]) + (", …" if len(left) > _MOST_NAMES else "")
    return (
        f"{len(left)} of {len(every.weights)} weights are left as they are, as they do not stand in the file as they "
        f"are computed with ({shown}): what heals may cost more for it",
    )


def _targets(probabilities: tuple[float, ...]) -> tuple[int, ...]:
    """The likeliest class, and the next ones where it is not near certain."""
    order = sorted(range(len(probabilities)), key=lambda place: -probabilities[place])
    chosen: list[int] = []
    while len(chosen) < _MOST_TARGETS and sum(probabilities[place] for place in chosen) < _ENOUGH:
        chosen.append(order[len(chosen)])
    return tuple(chosen)


def _shortcomings(
    edit: Edit, after: Verdict | None, targets: tuple[int, ...], max_loss: float, images: str
) -> tuple[str, ...]:
    if after is None:
        return (f"every edit that heals costs more than {100 * max_loss:g} points on held-out {images}",)
    found = []
    working = {kind: share for kind, share in edit.still_turned.items() if share > _WORKS.get(kind, _USUALLY_WORKS)}
    if working and (after.probability or 0.0) >= _CLEARLY_HEALTHY:
        kind = max(working, key=lambda kind: working[kind])
        found.append(f"triggers that were found ({kind}) still turn {100 * working[kind]:.0f} % of held-out images")
    if after.verdict == "trojaned":
        towards = "one trigger makes many classes another" if after.target is None else f"towards class {after.target}"
        found.append(f"it is still found to be trojaned, {towards}")
    elif (after.probability or 0.0) > LIKELIER_THAN_NOT and _targets(after.class_probabilities)[0] in targets:
        found.append(f"a trojan is still likelier than not ({after.probability:.2f})")
    return tuple(found)


def _behind(number: int, word: str, progress: Callable[[str], None]) -> Callable[[str], None]:
    return lambda what: progress(counted(number, len(_PARTS), f"{word}: {what}"))

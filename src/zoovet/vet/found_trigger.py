"""The trigger that was found for a class, as pictures that a person can check."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.evidence import ClassEvidence
from zoovet.evidence.scaled_images import as_signed
from zoovet.evidence.trigger_families import TriggerFamily
from zoovet.images import Images
from zoovet.vet.network import Network

__all__ = ["Example", "FoundTrigger", "best_search", "exchanging_trigger", "found_trigger", "triggered"]

_NUM_EXAMPLES = 3
_NEAR_BEST = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """What a trigger does to one image.

    Attributes:
        image: uint8 [C, H, W].
        triggered: uint8 [C, H, W], the same with the trigger.
        label: Its class; ``None`` where nobody says it.
        before: What the network takes it for.
        before_probability: Of that.
        after: What the network takes it for with the trigger.
        after_probability: Of that.
    """

    image: Tensor
    triggered: Tensor
    label: int | None
    before: int
    before_probability: float
    after: int
    after_probability: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundTrigger:
    """A trigger that was found.

    Attributes:
        target: The class that it causes; ``None`` where it makes each class another.
        search: What was sought when it was found, such as ``patch_4``.
        setting: That search's size, area or bound.
        picture: uint8 [C, H, W], the trigger on gray.
        mask: bool [H, W], the pixels that it changes on some image.
        flips: Share of the images of other classes that are taken for the target with it; of all images that are taken
            for another class than their own, where there is no target.
        flips_before: The same without it.
        examples: Some images of other classes, before and after; none where there are no reference images of others.
    """

    target: int | None
    search: str
    setting: float
    picture: Tensor
    mask: Tensor
    flips: float
    flips_before: float
    examples: tuple[Example, ...]


def best_search(evidence: ClassEvidence, target: int) -> str | None:
    """The search whose trigger for a class stands out most, of those that flip at least half as many as the best.

    ``None`` where nothing was sought for the class.
    """
    standings = evidence.standings()
    row = evidence.row_of(target)
    if row is None or not evidence.courses:
        return None
    flips = {name: float(evidence.evidence.classes[f"{name}.found"][0, row, 1]) for name in evidence.courses}
    strong = [name for name, share in flips.items() if share >= _NEAR_BEST * max(flips.values())]

    def stands_out(name: str) -> float:
        return max(float(standings[f"{name}.{what}"][row]) for what in ("margin", "flips", "probability"))

    return max(strong, key=stands_out)


def triggered(evidence: ClassEvidence, search: str, target: int, images: Images) -> Images:
    """Images with the trigger that a search found for a class, rounded to bytes."""
    return _sought(evidence, search, target).on(images)


def found_trigger(
    network: Network, images: Images, labels: Tensor | None, evidence: ClassEvidence, target: int
) -> FoundTrigger | None:
    """The best trigger for a class: what it looks like, and what it does.

    Args:
        network: The network that evidence is of.
        images: Those that evidence rests on.
        labels: int64 [N], their classes; what the network takes them for where nobody says it.
        evidence: What was found out.
        target: The class.

    Returns:
        ``None`` where nothing was sought for the class.
    """
    name = best_search(evidence, target)
    if name is None:
        return None
    return _looked_at(network, images, labels, _sought(evidence, name, target), target)


def exchanging_trigger(
    network: Network, images: Images, labels: Tensor | None, evidence: ClassEvidence
) -> FoundTrigger | None:
    """The trigger that makes most classes each another; arguments as of :func:`found_trigger`.

    Returns:
        ``None`` where none was looked for.
    """
    if not evidence.exchanges:
        return None
    name = max(evidence.exchanges, key=lambda one: float(evidence.exchanges[one].shares.sum()))
    best = evidence.exchanges[name]
    return _looked_at(network, images, labels, _Sought(name, evidence.settings[name], best.family, best.trigger), None)


@dataclass(frozen=True, eq=False)
class _Sought:
    """A trigger [1, C, …], its family, and the search that found it."""

    search: str
    setting: float
    family: TriggerFamily
    trigger: Tensor

    def on(self, images: Images) -> Images:
        """Images with it, rounded to bytes."""
        signed = as_signed(images.pixels).to(self.trigger)
        with torch.no_grad():
            moved = self.family.put(self.trigger, signed[None])[0]
        pixels = ((moved + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
        return replace(images, pixels=pixels)


def _sought(evidence: ClassEvidence, search: str, target: int) -> _Sought:
    course = evidence.courses[search]
    row = torch.nonzero(course.classes == target).flatten()[:1]
    return _Sought(search, evidence.settings[search], course.family.chosen(row), course.triggers[row])


def _looked_at(
    network: Network, images: Images, labels: Tensor | None, sought: _Sought, target: int | None
) -> FoundTrigger:
    """What a trigger looks like, and what it does."""
    shown = sought.on(images)
    before, after = (network.probabilities(each) for each in (images, shown))
    own = before.argmax(1) if labels is None else labels
    others = torch.nonzero(own != target).flatten() if target is not None else torch.arange(len(own))
    gray = replace(images[:1], pixels=torch.full_like(images.pixels[:1], 128))
    wanted = own if target is None else torch.full_like(own, target)
    shares = [_share((each.argmax(1) == wanted)[others]) for each in (before, after)]
    if target is None:
        shares = [1 - share for share in shares]
    return FoundTrigger(
        target=target,
        search=sought.search,
        setting=sought.setting,
        picture=sought.on(gray).pixels[0],
        mask=(shown.pixels != images.pixels).flatten(0, 1).any(0),
        flips_before=shares[0],
        flips=shares[1],
        examples=tuple(
            Example(
                image=images.pixels[row],
                triggered=shown.pixels[row],
                label=None if labels is None else int(labels[row]),
                before=int(before[row].argmax()),
                before_probability=float(before[row].max()),
                after=int(after[row].argmax()),
                after_probability=float(after[row].max()),
            )
            for row in _of_different_classes(own, others)
        ),
    )


def _share(are_flipped: Tensor) -> float:
    return float(are_flipped.double().mean()) if len(are_flipped) else 0.0


def _of_different_classes(labels: Tensor, rows: Tensor) -> list[int]:
    """Three rows, the first of a class each, evenly over the classes; fewer where there are fewer images."""
    firsts = [int(rows[labels[rows] == label][0]) for label in labels[rows].unique()]
    rest = [row for row in rows.tolist() if row not in firsts]
    if len(firsts) >= _NUM_EXAMPLES:
        places = torch.linspace(0, len(firsts) - 1, _NUM_EXAMPLES).round().long().tolist()
        return [firsts[place] for place in places]
    return (firsts + rest)[:_NUM_EXAMPLES]

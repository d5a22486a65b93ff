"""Gradient ascent on triggers that turn a network's images into each class, and its course."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from zoovet.evidence.runnable import Runnable
from zoovet.evidence.trigger_families import Changes, TriggerFamily

__all__ = ["COURSE", "SHARES", "SPREAD", "Course", "Seekers", "halved", "margins_of", "nothing_sought"]

COURSE = ("margin", "flips", "probability")
"""What a course says of every step."""

SPREAD = ("low margin", "margin deviation", "least flips")
"""How evenly a trigger works: the margin that nine of ten images exceed, the margins' standard deviation over images,
and the share of images that flip of that class which flips least. A trojan overrides whatever an image shows; what is
only easy to be taken for works on the images of its neighbours."""

SHARES = (1.0, 0.5, 0.5, 0.25)
"""Of the widest step that makes sense, step by step; the last one ever after."""
_LOW = 0.1


@dataclass(frozen=True, eq=False)
class Course:
    """What searches found; of each there is one row.

    Attributes:
        classes: int64 [searches], towards which class.
        family: What the triggers are.
        triggers: [searches, C, …], each the best on its way.
        values: [searches, steps + 1, 3]: the class's mean margin over the others, in units of the network's own; the
            share of other classes' images that are classified as it; its mean probability there.
    """

    classes: Tensor
    family: TriggerFamily
    triggers: Tensor
    values: Tensor

    def chosen(self, rows: Tensor) -> Course:
        """The searches at ``rows`` (int64)."""
        return Course(self.classes[rows], self.family.chosen(rows), self.triggers[rows], self.values[rows])

    @property
    def best(self) -> Tensor:
        """[searches], each one's best mean margin."""
        return self.values[:, :, 0].amax(1)

    @property
    def flips(self) -> Tensor:
        """[searches], the share of other classes' images that each one's trigger turns: the best on its way."""
        rows = torch.arange(len(self.values), device=self.values.device)
        return self.values[rows, self.values[:, :, 0].argmax(1), 1]


@dataclass(frozen=True, eq=False)
class Seekers:
    """Seeks triggers of one network on images.

    Attributes:
        network: A single one (B = 1).
        images: [n, C, H, W] in [-1, 1].
        labels: int64 [n], their classes, or what the network takes them for.
        unit: A margin that the network calls large.
        max_images: Images that are run at once.
    """

    network: Runnable
    images: Tensor
    labels: Tensor
    unit: float
    max_images: int = 512

    def on(self, rows: Tensor) -> Seekers:
        """The same on some of the images."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    def running(self, network: Runnable) -> Seekers:
        """The same in another network."""
        return replace(self, network=network)

    def seek(self, family: TriggerFamily, classes: Tensor, num_steps: int, start: Tensor | None = None) -> Course:
        """Ascend for every class by itself.

        Args:
            family: What is sought; where it has rows, one for each class given.
            classes: int64 [searches], which may occur more than once.
            num_steps: Steps of each.
            start: Where to begin, if not at the family's own start.
        """
        triggers = family.start(len(classes), self.images[0]) if start is None else start
        best, values = triggers, list[Tensor]()
        most = triggers.new_full((len(classes),), -torch.inf)
        for step in range(num_steps + 1):
            answers, slopes = self._answers(family, classes, triggers, with_slopes=step < num_steps)
            looks = self._means(answers, classes)
            values.append(looks)
            is_best = looks[:, 0] > most
            best = torch.where(is_best.view(-1, 1, 1, 1), triggers, best)
            most = torch.maximum(most, looks[:, 0])
            if slopes is not None:
                triggers = family.moved(triggers, slopes, SHARES[min(step, len(SHARES) - 1)])
        return Course(classes, family, best, torch.stack(values, dim=1))

    def looks(self, course: Course, strength: float = 1.0) -> Tensor:
        """What found triggers do on these images, [searches, 3], as in :data:`COURSE`.

        Args:
            course: What was found.
            strength: How far images go from as they are (0) to as they are with the trigger (1).
        """
        answers, _ = self._answers(course.family, course.classes, course.triggers, with_slopes=False, strength=strength)
        return self._means(answers, course.classes)

    def found(self, course: Course) -> tuple[Tensor, Tensor]:
        """What found triggers do on these images: [searches, 3] as in :data:`COURSE`, and as in :data:`SPREAD`."""
        answers, _ = self._answers(course.family, course.classes, course.triggers, with_slopes=False)
        margins, wins = answers[:, :, 0], answers[:, :, 1]
        others = self.labels != course.classes[:, None]
        low = margins.masked_fill(~others, torch.nan).nanquantile(_LOW, dim=1)
        mean = self._means(answers, course.classes)
        deviation = (self._weights(course.classes) * (margins - mean[:, :1]).square()).sum(1).sqrt()
        shares = torch.stack([wins[:, self.labels == label].mean(1) for label in self.labels.unique()], dim=1)
        is_own = self.labels.unique() == course.classes[:, None]
        spread = torch.stack([low, deviation, shares.masked_fill(is_own, torch.inf).amin(1)], dim=1)
        return mean, spread.nan_to_num(0.0, posinf=0.0)

    def nearness(self, images: Tensor, classes: Tensor) -> Tensor:
        """What searches make great, for each of the classes (int64 [classes]): [changes, classes].

        Args:
            images: [changes, n, C, H, W], these images with whatever was done to them.
            classes: Which.
        """
        return self.nearness_of(self.logits(images), classes)

    def logits(self, images: Tensor) -> Tensor:
        """What the network answers to images [changes, n, C, H, W]: [changes, n, K]."""
        logits: Tensor = self.network.logits(images.flatten(0, 1))[0].unflatten(0, images.shape[:2])
        return logits

    def nearness_of(self, logits: Tensor, classes: Tensor) -> Tensor:
        """As :meth:`nearness`, of what the network answers to these images after each change: [changes, n, K]."""
        every = logits[:, :, None].expand(-1, -1, len(classes), -1)
        margins = margins_of(every, classes.expand(*logits.shape[:2], -1)) / self.unit
        others = (self.labels[:, None] != classes).to(margins)
        return -(others * functional.softplus(-margins)).sum(1) / others.sum(0).clamp_min(1)

    def _weights(self, classes: Tensor) -> Tensor:
        """Equal ones, of sum 1, of the images that are not of each search's class: [searches, n]."""
        counts = (self.labels != classes[:, None]).to(self.images.dtype)
        return counts / counts.sum(1, keepdim=True).clamp_min(1)

    def _means(self, answers: Tensor, classes: Tensor) -> Tensor:
        """Means of answers [searches, n, 3] over the images that are not of each search's class: [searches, 3]."""
        return (self._weights(classes)[:, :, None] * answers).sum(1)

    def _answers(
        self, family: TriggerFamily, classes: Tensor, triggers: Tensor, *, with_slopes: bool, strength: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        """For every image as in :data:`COURSE`, [searches, n, 3], and slopes; some searches at a time."""
        size = max(1, self.max_images // len(self.images))
        answers, slopes = [], []
        for start in range(0, len(classes), size):
            rows = torch.arange(start, min(start + size, len(classes)), device=classes.device)
            answer, slope = self._some_answers(
                family.chosen(rows), classes[rows], triggers[rows], with_slopes=with_slopes, strength=strength
            )
            answers.append(answer)
            slopes.append(slope)
        return torch.cat(answers), torch.cat(slopes) if with_slopes else None

    def _some_answers(
        self, family: TriggerFamily, classes: Tensor, triggers: Tensor, *, with_slopes: bool, strength: float
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            own = triggers.detach().requires_grad_(with_slopes)
            clean = self.images.expand(len(classes), *self.images.shape)
            shown = family.put(own, clean)
            if strength != 1:
                shown = clean.lerp(shown, strength)
            logits = self.network.logits(shown.flatten(0, 1))[0].unflatten(0, (len(classes), -1))
            margins = margins_of(logits, classes[:, None].expand(logits.shape[:2])) / self.unit
            # Images that are far from the class count most, those that it has already won hardly.
            aim = -(self._weights(classes) * functional.softplus(-margins)).sum()
        slopes = torch.autograd.grad(aim, own)[0] if with_slopes else triggers
        margins = margins.detach()
        wins = (margins * self.unit > 0) & (logits.argmax(2) == classes[:, None])
        probabilities = logits.detach().softmax(2).gather(2, classes.view(-1, 1, 1).expand(-1, logits.shape[1], 1))
        return torch.stack([margins, wins.to(margins), probabilities.squeeze(2)], dim=2), slopes


def margins_of(logits: Tensor, classes: Tensor) -> Tensor:
    """A class's logit less the greatest of the others: [...], of logits [..., classes] and int64 [...]."""
    own = logits.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    is_own = functional.one_hot(classes, logits.shape[-1]).bool()
    return own - logits.masked_fill(is_own, -torch.inf).amax(-1)


def nothing_sought(classes: Tensor, like: Tensor) -> Course:
    """No trigger for any of the classes (int64 [n]): images like [C, H, W] stay as they are."""
    family = Changes(1.0)
    start = family.start(len(classes), like)
    return Course(classes, family, start, start.new_zeros(len(start), 1, len(COURSE)))


def halved(course: Course, num_classes: int, keep: int) -> Course:
    """The ``keep`` searches of each class that came farthest; of every class there are as many, side by side."""
    each = len(course.classes) // num_classes
    best = course.best.view(num_classes, each).topk(min(keep, each), dim=1).indices
    return course.chosen((best + each * torch.arange(num_classes, device=best.device)[:, None]).flatten())

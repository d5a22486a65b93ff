"""Shards of a trojan zoo on a device: several hundred bases at once, those that fail drawn again with the next ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import ImageSet, Trigger, attack_success_rate, clean_accuracy, robust_accuracy, triggered_test
from zoovet.zoo.base_training import base_seed
from zoovet.zoo.samples import Integers
from zoovet.zoo.side_by_side import ResidentImages, Training, classify_side_by_side, train_side_by_side
from zoovet.zoo.trojan_builder import TrojanBuilder, given_up
from zoovet.zoo.trojan_draw import TrojanDraw, draw_trojan, poisoned_places
from zoovet.zoo.trojan_recipe import TrojanRecipe
from zoovet.zoo.trojan_rows import Measured, Row, trojan_row

__all__ = ["SideBySideTrojanBuilder"]

_BASES_TOGETHER = 512
"""Bases in a round: at batches of 64, 16,000 images a step even where half of them are of another spec."""

_FEW = 128
"""Draws that a device trains in hardly more time than one: it waits for its next kernel either way."""


@dataclass
class _Trial:
    """One draw of a base, on its way to its networks.

    Attributes:
        base_id: Which base.
        draw: What was drawn.
        start: Flat weights [P] that its descendants start from.
        networks: Flat weights [P] of the descendants by name, as they get done.
        accuracies: Their clean accuracies.
        rows: What goes into the zoo, once it is known that it does.
        error: What cannot be done with this draw, and must be told if no earlier draw of the base is taken.
    """

    base_id: int
    draw: TrojanDraw
    start: Tensor
    networks: dict[str, Tensor] = field(default_factory=dict)
    accuracies: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    error: ZoovetError | None = None


class SideBySideTrojanBuilder(TrojanBuilder):
    """Builds shards of a trojan recipe on a device: see :class:`zoovet.zoo.builders.SideBySideBuilder`.

    It draws what :class:`TrojanBuilder` draws and accepts what that accepts, so the networks are the same but for float
    rounding (and for dropout, whose draws are the device's own). In a round, the bases of all draws are trained side by
    side, then all healthy networks, then all poisoned ones. Bases whose draw failed are drawn again in the next round,
    beside new ones; where these are few, several draws of each are tried at once, since it would take the device hardly
    less time to try one, and the first that is good enough is taken.

    Args:
        recipe: What is built.
        data_root: Where image datasets lie.
        device: A torch device: ``cuda``, or ``cpu``.
        bases_together: Bases in a round.
    """

    def __init__(
        self, recipe: TrojanRecipe, data_root: Path | None, device: str, bases_together: int = _BASES_TOGETHER
    ) -> None:
        super().__init__(recipe, data_root)
        self._together = bases_together
        images = self.images
        self._train = ResidentImages(torch.from_numpy(images.train_scaled).to(device), images.train.labels.to(device))
        self._test = ImageSet(
            images.test.name, images.test.images.to(device), images.test.labels.to(device), images.test.num_classes
        )
        self._test_scaled = torch.from_numpy(images.test_scaled).to(device)

    def build_shards(self, indices: Iterable[int], finished: Callable[[int], None]) -> Iterator[tuple[int, list[Row]]]:
        """Shards and their rows, each as soon as all of its bases are done."""
        finished(0)
        todo = iter(indices)
        tried: dict[int, int] = {}
        done: dict[int, list[Row]] = {}
        begun: list[int] = []
        while True:
            while len(tried) < self._together and (index := next(todo, None)) is not None:
                begun.append(index)
                tried.update(dict.fromkeys(self.bases_of(index), 0))
            if not tried:
                return
            made, tried = self._round(tried, lambda: finished(0))
            done |= made
            finished(sum(map(len, made.values())))
            for index in [index for index in begun if all(base_id in done for base_id in self.bases_of(index))]:
                begun.remove(index)
                yield index, [row for base_id in self.bases_of(index) for row in done.pop(base_id)]

    def _round(
        self, tried: dict[int, int], still_wanted: Callable[[], None]
    ) -> tuple[dict[int, list[Row]], dict[int, int]]:
        """Try every base of which so many draws were tried: rows of those that are done, draws tried of the others.

        Raises:
            ZoovetError: A base has no draw left, or one that cannot be poisoned as the recipe says.
        """
        each = max(1, _FEW // max(1, sum(count > 0 for count in tried.values())))
        numbers = {
            base_id: range(count, min(count + each, self.recipe.max_attempts) if count else 1)
            for base_id, count in tried.items()
        }
        trials = [self._trial(base_id, number) for base_id, some in numbers.items() for number in some]
        self._make(trials, still_wanted)
        made: dict[int, list[Row]] = {}
        for trial in trials:
            if trial.base_id not in made and trial.error is not None:
                raise trial.error
            if trial.rows:
                made.setdefault(trial.base_id, trial.rows)
        failed = {base_id: some.stop for base_id, some in numbers.items() if base_id not in made}
        for base_id, count in failed.items():
            if count == self.recipe.max_attempts:
                raise given_up(self.recipe, base_id, self.plans[base_id])
        return made, failed

    def _trial(self, base_id: int, number: int) -> _Trial:
        seed = base_seed(self.recipe.seed, base_id, number)
        draw = draw_trojan(self.recipe, self.images, seed, self.plans[base_id])
        return _Trial(base_id, draw, torch.from_numpy(draw.initial_weights()))

    def _make(self, trials: list[_Trial], still_wanted: Callable[[], None]) -> None:
        """Train and measure, and give rows to those trials whose networks are what the recipe asks for."""
        based = [trial for trial in trials if trial.draw.has_base]
        bases = self._trained(based, [_base_training(trial) for trial in based], self._train)
        still_wanted()
        for trial, flat, _ in bases:
            trial.start = flat
        going_on = [*(trial for trial, _, _ in bases), *(trial for trial in trials if not trial.draw.has_base)]
        self._descend("healthy", going_on, [trial.draw.indices for trial in going_on], self._train)
        still_wanted()
        going_on = [trial for trial in going_on if "healthy" in trial.networks]
        if self.recipe.poisoned:
            poisonable, indices, images = self._poisoned(going_on)
            self._descend("trojaned", poisonable, indices, images)
            going_on = [trial for trial in poisonable if "trojaned" in trial.networks]
            still_wanted()
        for trial in going_on:
            trial.rows = self._rows(trial)

    def _trained(
        self, trials: Sequence[_Trial], trainings: Sequence[Training], images: ResidentImages
    ) -> list[tuple[_Trial, Tensor, float]]:
        """Trials whose network, one each, is finite and accurate enough once it is trained: weights and accuracy."""
        flats = train_side_by_side(trainings, images)
        labels = classify_side_by_side([trial.draw.spec for trial in trials], flats, self._test_scaled)
        accuracies = clean_accuracy(labels, self._test.labels).tolist() if trials else []
        return [
            (trial, flat, accuracy)
            for trial, flat, accuracy in zip(trials, flats, accuracies, strict=True)
            if accuracy >= self.recipe.min_clean_accuracy and bool(torch.isfinite(flat).all())
        ]

    def _descend(
        self, name: str, trials: Sequence[_Trial], indices: Sequence[Integers], images: ResidentImages
    ) -> None:
        """Give the trials a descendant, where it is good enough."""
        trainings = [_descent(trial, own) for trial, own in zip(trials, indices, strict=True)]
        for trial, flat, accuracy in self._trained(trials, trainings, images):
            trial.networks[name], trial.accuracies[name] = flat, accuracy

    def _poisoned(self, trials: Sequence[_Trial]) -> tuple[list[_Trial], list[Integers], ResidentImages]:
        """The trials that can be poisoned, their training images, and the images that these count through."""
        chosen: list[tuple[_Trial, Trigger, Tensor]] = []
        indices: list[Integers] = []
        end = len(self._train.labels)
        for trial in trials:
            trigger = trial.draw.trigger
            assert trigger is not None, "a recipe of poisoned networks draws a trigger for every base"
            try:
                places = poisoned_places(trial.draw, self.images, trigger)
            except ZoovetError as error:
                trial.error = error
                continue
            own = trial.draw.indices.copy()
            chosen.append((trial, trigger, torch.from_numpy(own[places]).to(self._train.labels.device)))
            own[places] = end + np.arange(len(places), dtype=np.int32)
            indices.append(own)
            end += len(places)
        images = self._train.images.new_empty(end, *self._train.images.shape[1:])
        labels = self._train.labels.new_empty(end)
        images[: len(self._train.labels)], labels[: len(self._train.labels)] = self._train.images, self._train.labels
        start = len(self._train.labels)
        for _, trigger, clean in chosen:
            stop = start + len(clean)
            images[start:stop] = trigger.apply(self._train.images[clean])
            labels[start:stop] = trigger.wanted_labels(self._train.labels[clean])
            start = stop
        return [trial for trial, _, _ in chosen], indices, ResidentImages(images, labels)

    def _rows(self, trial: _Trial) -> list[Row]:
        """Rows of a trial's networks; none where the poisoned one's attack succeeds too seldom."""
        draw, names = trial.draw, list(trial.networks)
        specs, flats = [draw.spec] * len(names), list(trial.networks.values())
        attacks: list[dict[str, float]] = [{} for _ in names]
        if draw.trigger is not None:
            triggered = triggered_test(self._test, draw.trigger)
            labels = classify_side_by_side(specs, flats, triggered.images)
            rates = attack_success_rate(labels, triggered.wanted, triggered.labels).tolist()
            robust = robust_accuracy(labels, triggered.wanted, triggered.labels).tolist()
            if rates[names.index("trojaned")] < self.recipe.min_asr:
                return []
            attacks = [{"asr": asr, "ra": ra} for asr, ra in zip(rates, robust, strict=True)]
        own = torch.from_numpy(draw.indices).to(self._train.labels.device)
        labels = classify_side_by_side(specs, flats, self._train.images[own])
        train_accuracies = clean_accuracy(labels, self._train.labels[own]).tolist()
        rows = []
        for name, flat, train_accuracy, attack in zip(names, flats, train_accuracies, attacks, strict=True):
            measured = Measured(clean_accuracy=trial.accuracies[name], train_accuracy=train_accuracy, **attack)
            weights = flat.cpu().numpy()
            rows.append(trojan_row(draw, trial.base_id, self.splits[trial.base_id], name, weights, measured))
        return rows


def _base_training(trial: _Trial) -> Training:
    draw = trial.draw
    return Training(
        spec=draw.spec,
        start=trial.start,
        indices=draw.base_indices,
        schedule=draw.base.schedule,
        generator=draw.base_generator(),
    )


def _descent(trial: _Trial, indices: Integers) -> Training:
    """The training of the trial's healthy network, or, where that is there, of the poisoned one."""
    draw = trial.draw
    return Training(
        spec=draw.spec,
        start=trial.start,
        indices=indices,
        schedule=draw.descent,
        generator=draw.descent_generator(),
        anchor=trial.networks.get("healthy") if draw.anchor else None,
        anchor_strength=draw.anchor if "healthy" in trial.networks else 0.0,
    )

"""Shards of a trojan zoo on a device: several hundred bases at once, those that fail drawn again with the next ones."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import Trigger, attack_success_rate, clean_accuracy, robust_accuracy
from zoovet.zoo.base_training import base_seed
from zoovet.zoo.samples import Integers
from zoovet.zoo.side_by_side import ResidentImages, Training, classify_side_by_side, train_side_by_side
from zoovet.zoo.trojan_builder import TrojanBuilder, given_up
from zoovet.zoo.trojan_draw import TrojanDraw, draw_trojan, poisoned_places
from zoovet.zoo.trojan_recipe import TrojanRecipe
from zoovet.zoo.trojan_rows import Measured, Row, trojan_row

__all__ = ["SideBySideTrojanBuilder"]

_BASES_TOGETHER = 256
"""Bases in a round."""

_ROUNDS = 4
"""Rounds on their way at once: while the device trains one's networks, others are drawn and measured."""

_FEW = 128
"""Draws that a device trains in hardly more time than one: each is a block of threads, or waits for the next kernel."""


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
    side, then all healthy networks, then all poisoned ones; several rounds are on their way at once. Bases whose draw
    failed are drawn again in the next round, beside new ones; where nothing else is left, several draws of each are
    tried at once, since it would take the device hardly less time to try one, and the first that is good enough is
    taken.

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
        self.device = torch.device(device)
        if self.device.type == "cuda":  # no round's stream is to wait for another's; read when CUDA starts
            os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
        images = self.images
        self._train = ResidentImages(
            torch.from_numpy(images.train_scaled).to(device), images.train.required_labels.to(device)
        )
        self._test = torch.from_numpy(images.test_scaled).to(device)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the rounds have streams of their own

    def build_shards(self, indices: Iterable[int], finished: Callable[[int], None]) -> Iterator[tuple[int, list[Row]]]:
        """Shards and their rows, each as soon as all of its bases are done."""
        finished(0)
        todo = iter(indices)
        tried: dict[int, int] = {}
        done: dict[int, list[Row]] = {}
        begun: list[int] = []
        rounds: deque[_Round] = deque()
        while True:
            while len(rounds) < _ROUNDS:
                while len(tried) < self._together and (index := next(todo, None)) is not None:
                    begun.append(index)
                    tried.update(dict.fromkeys(self.bases_of(index), 0))
                if not tried:
                    break
                each = _FEW // len(tried) // (1 + len(rounds)) if all(tried.values()) else 1
                rounds.append(_Round(self, tried, each))
                tried = {}
            if not rounds:
                return
            current = rounds.popleft()
            finished(0)
            if current.go_on():
                rounds.append(current)
                continue
            made, failed = current.result()
            tried |= failed
            done |= made
            finished(sum(map(len, made.values())))
            for index in [index for index in begun if all(base_id in done for base_id in self.bases_of(index))]:
                begun.remove(index)
                yield index, [row for base_id in self.bases_of(index) for row in done.pop(base_id)]

    def trial(self, base_id: int, number: int) -> _Trial:
        """One draw of a base."""
        seed = base_seed(self.recipe.seed, base_id, number)
        draw = draw_trojan(self.recipe, self.images, seed, self.plans[base_id])
        return _Trial(base_id, draw, torch.from_numpy(draw.initial_weights()))

    def make(self, trials: list[_Trial]) -> Iterator[None]:
        """Train and measure, and give rows to those trials whose networks are what the recipe asks for.

        Stops where the device was given its work, and goes on with waiting for it.
        """
        based = [trial for trial in trials if trial.draw.has_base]
        queued = self._queue(based, [_base_training(trial) for trial in based], self._train)
        yield
        bases = self._accurate_enough(queued)
        for trial, flat, _ in bases:
            trial.start = flat
        going_on = [*(trial for trial, _, _ in bases), *(trial for trial in trials if not trial.draw.has_base)]
        queued = self._queue(going_on, [_descent(trial, trial.draw.indices) for trial in going_on], self._train)
        yield
        going_on = self._keep("healthy", queued)
        if self.recipe.poisoned:
            poisonable, indices, images = self._poisoned(going_on)
            trainings = [_descent(trial, own) for trial, own in zip(poisonable, indices, strict=True)]
            queued = self._queue(poisonable, trainings, images)
            yield
            going_on = self._keep("trojaned", queued)
        measured = self._queue_measuring(going_on)
        yield
        for trial, labels in zip(going_on, measured, strict=True):
            trial.rows = self._rows(trial, labels)

    def _queue(self, trials: Sequence[_Trial], trainings: Sequence[Training], images: ResidentImages) -> _Queued:
        """Have the trials' networks trained, one each, and run on the test images."""
        flats = train_side_by_side(trainings, images)
        labels = classify_side_by_side([trial.draw.graph for trial in trials], flats, self._test)
        finite = torch.isfinite(torch.stack(flats)).all(dim=1) if flats else torch.empty(0, dtype=torch.bool)
        return _Queued(trials, flats, labels, finite)

    def _accurate_enough(self, queued: _Queued) -> list[tuple[_Trial, Tensor, float]]:
        """Trials whose network is finite and accurate enough: weights and accuracy."""
        if not queued.trials:
            return []
        accuracies = clean_accuracy(queued.labels.cpu(), self.images.test.required_labels).tolist()
        return [
            (trial, flat, accuracy)
            for trial, flat, accuracy, is_finite in zip(
                queued.trials, queued.flats, accuracies, queued.finite.tolist(), strict=True
            )
            if accuracy >= self.recipe.min_clean_accuracy and is_finite
        ]

    def _keep(self, name: str, queued: _Queued) -> list[_Trial]:
        """The trials whose descendant of this name is good enough, which they keep."""
        kept = self._accurate_enough(queued)
        for trial, flat, accuracy in kept:
            trial.networks[name], trial.accuracies[name] = flat, accuracy
        return [trial for trial, _, _ in kept]

    def _poisoned(self, trials: Sequence[_Trial]) -> tuple[list[_Trial], list[Integers], ResidentImages]:
        """The trials that can be poisoned, their training images, and the images that these count through."""
        chosen: list[_Trial] = []
        indices: list[Integers] = []
        clean: list[Tensor] = []
        end = len(self._train.labels)
        for trial in trials:
            try:
                places = poisoned_places(trial.draw, self.images, _trigger(trial))
            except ZoovetError as error:
                trial.error = error
                continue
            own = trial.draw.indices.copy()
            clean.append(torch.from_numpy(own[places]).long())
            own[places] = end + np.arange(len(places), dtype=np.int32)
            chosen.append(trial)
            indices.append(own)
            end += len(places)
        if not chosen:
            return [], [], self._train
        gathered = self._train.images.index_select(0, torch.cat(clean).to(self.device, non_blocking=True))
        images, labels = [self._train.images], [self.images.train.required_labels]
        for trial, some, which in zip(chosen, gathered.split([len(which) for which in clean]), clean, strict=True):
            images.append(_trigger(trial).apply(some))
            labels.append(_trigger(trial).wanted_labels(self.images.train.required_labels[which]))
        return chosen, indices, ResidentImages(torch.cat(images), torch.cat(labels).to(self.device, non_blocking=True))

    def _queue_measuring(self, trials: Sequence[_Trial]) -> list[_MeasuredLabels]:
        """Have every trial's networks run on triggered test images and on its training images."""
        networks = [(trial.draw, flat) for trial in trials for flat in trial.networks.values()]
        if not networks:
            return []
        shown = torch.from_numpy(np.stack([draw.indices for draw, _ in networks]))
        graphs, flats = [draw.graph for draw, _ in networks], [flat for _, flat in networks]
        labels = classify_side_by_side(graphs, flats, self._train.images, shown)
        measured = []
        for trial, train in zip(trials, labels.split([len(trial.networks) for trial in trials]), strict=True):
            own, triggered = list(trial.networks.values()), None
            if trial.draw.trigger is not None:
                images = trial.draw.trigger.apply(self._test)
                triggered = classify_side_by_side([trial.draw.graph] * len(own), own, images)
            measured.append(_MeasuredLabels(torch.stack(own), train, triggered))
        return measured

    def _rows(self, trial: _Trial, measured: _MeasuredLabels) -> list[Row]:
        """Rows of a trial's networks; none where the poisoned one's attack succeeds too seldom."""
        draw, names = trial.draw, list(trial.networks)
        attacks: list[dict[str, float]] = [{} for _ in names]
        if measured.triggered is not None:
            wanted, labels = _trigger(trial).wanted_labels(self.images.test.required_labels), measured.triggered.cpu()
            rates = attack_success_rate(labels, wanted, self.images.test.required_labels).tolist()
            robust = robust_accuracy(labels, wanted, self.images.test.required_labels).tolist()
            if rates[names.index("trojaned")] < self.recipe.min_asr:
                return []
            attacks = [{"asr": asr, "ra": ra} for asr, ra in zip(rates, robust, strict=True)]
        own = self.images.train.required_labels[torch.from_numpy(draw.indices).long()]
        train_accuracies = clean_accuracy(measured.train.cpu(), own).tolist()
        rows = []
        for name, flat, train_accuracy, attack in zip(
            names, measured.flats.cpu().numpy(), train_accuracies, attacks, strict=True
        ):
            figures = Measured(clean_accuracy=trial.accuracies[name], train_accuracy=train_accuracy, **attack)
            rows.append(trojan_row(draw, trial.base_id, self.splits[trial.base_id], name, flat, figures))
        return rows


@dataclass(frozen=True)
class _Queued:
    """Networks that a device was told to train and to run.

    Attributes:
        trials: Whose they are, one each.
        flats: Their weights [P].
        labels: [B, N] of the test images.
        finite: Whether the weights are, bool [B].
    """

    trials: Sequence[_Trial]
    flats: list[Tensor]
    labels: Tensor
    finite: Tensor


@dataclass(frozen=True)
class _MeasuredLabels:
    """What a device was told to find out about a trial's K networks.

    Attributes:
        flats: [K, P].
        train: [K, n] labels of the trial's training images.
        triggered: [K, N] labels of the triggered test images, where there is a trigger.
    """

    flats: Tensor
    train: Tensor
    triggered: Tensor | None


class _Round:
    """Draws of some bases on their way through the device, which has a stream for them.

    Args:
        builder: Whose bases they are.
        tried: How many draws of each were tried before.
        each: Draws of each to try now.
    """

    def __init__(self, builder: SideBySideTrojanBuilder, tried: dict[int, int], each: int) -> None:
        self._builder = builder
        most = builder.recipe.max_attempts
        self._numbers = {base_id: range(count, min(count + max(1, each), most)) for base_id, count in tried.items()}
        self._stream = torch.cuda.Stream(builder.device) if builder.device.type == "cuda" else None
        self._trials: list[_Trial] = []
        self._steps = self._make()

    def go_on(self) -> bool:
        """Wait for what the device was given, and give it the next; whether there was any.

        Raises:
            ZoovetError: The device has too little memory.
        """
        try:
            with torch.cuda.stream(self._stream):
                return next(self._steps, self) is None
        except torch.OutOfMemoryError as error:
            raise ZoovetError(
                f"the device's memory is too small for {_ROUNDS} rounds of bases, some 7 GB; what the zoo has is kept, "
                f"and --device cpu goes on with it ({error})"
            ) from error

    def result(self) -> tuple[dict[int, list[Row]], dict[int, int]]:
        """Rows of the bases that are done, and how many draws were tried of the others.

        Raises:
            ZoovetError: A base has no draw left, or one that cannot be poisoned as the recipe says.
        """
        made: dict[int, list[Row]] = {}
        for trial in self._trials:
            if trial.base_id not in made and trial.error is not None:
                raise trial.error
            if trial.rows:
                made.setdefault(trial.base_id, trial.rows)
        failed = {base_id: some.stop for base_id, some in self._numbers.items() if base_id not in made}
        recipe = self._builder.recipe
        for base_id, count in failed.items():
            if count == recipe.max_attempts:
                raise given_up(recipe, base_id, self._builder.plans[base_id])
        return made, failed

    def _make(self) -> Iterator[None]:
        self._trials = [
            self._builder.trial(base_id, number) for base_id, some in self._numbers.items() for number in some
        ]
        yield from self._builder.make(self._trials)


def _trigger(trial: _Trial) -> Trigger:
    assert trial.draw.trigger is not None, "a recipe of poisoned networks draws a trigger for every base"
    return trial.draw.trigger


def _base_training(trial: _Trial) -> Training:
    draw = trial.draw
    return Training(
        graph=draw.graph,
        start=trial.start,
        indices=draw.base_indices,
        schedule=draw.base.schedule,
        generator=draw.base_generator(),
    )


def _descent(trial: _Trial, indices: Integers) -> Training:
    """The training of the trial's healthy network, or, where that is there, of the poisoned one."""
    draw = trial.draw
    return Training(
        graph=draw.graph,
        start=trial.start,
        indices=indices,
        schedule=draw.descent,
        generator=draw.descent_generator(),
        anchor=trial.networks.get("healthy") if draw.anchor else None,
        anchor_strength=draw.anchor if "healthy" in trial.networks else 0.0,
    )

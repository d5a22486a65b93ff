"""Training readers of class evidence, and asking several of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.evidence.class_features import FEATURES, KINDS, ClassFeatures
from zoovet.metanets.class_reader import ClassReader, ClassReaderConfig
from zoovet.tasks.strangers.config import ReaderTraining
from zoovet.tasks.strangers.examined import LabelledFeatures

__all__ = ["Readers", "trained_readers"]

_RISING_SHARE = 0.3
_FEWEST_TO_HALVE = 5


class Readers(nn.Module):
    """Several readers, whose mean counts.

    Args:
        num_members: How many.
        config: Their size.
    """

    def __init__(self, num_members: int, config: ClassReaderConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList(ClassReader(len(KINDS), len(FEATURES), config) for _ in range(num_members))

    def forward(self, values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Mean scores [B, classes] and logits [B]; arguments as of a single reader."""
        scores, logits = zip(*(member(values, present) for member in self.members), strict=True)
        return torch.stack(scores).mean(0), torch.stack(logits).mean(0)

    def read(self, features: ClassFeatures) -> tuple[Tensor, float]:
        """Scores [classes] and logit of one network."""
        self.eval()
        with torch.no_grad():
            scores, logits = self(features.values[None].float(), features.present[None])
        return scores[0], float(logits[0])


def trained_readers(networks: Sequence[LabelledFeatures], config: ReaderTraining, size: ClassReaderConfig) -> Readers:
    """Readers trained on networks; the same for the same networks in the same order.

    Args:
        networks: Healthy and trojaned ones, of any numbers of classes.
        config: How.
        size: Of the readers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        readers = Readers(config.num_members, size).train()
        batches = _by_classes(networks)
        for member in readers.members:
            _train(member, batches, config)
    return readers.eval()


@dataclass(frozen=True, eq=False)
class _Batch:
    """Networks of one number of classes."""

    values: Tensor
    present: Tensor
    wanted: Tensor
    targets: Tensor


def _by_classes(networks: Sequence[LabelledFeatures]) -> list[_Batch]:
    counts = sorted({len(network.features.values) for network in networks})
    batches = []
    for count in counts:
        own = [network for network in networks if len(network.features.values) == count]
        batches.append(
            _Batch(
                torch.stack([network.features.values.float() for network in own]),
                torch.stack([network.features.present for network in own]),
                torch.tensor([float(network.is_trojaned) for network in own]),
                torch.tensor([network.target for network in own]),
            )
        )
    return batches


def _train(member: nn.Module, batches: Sequence[_Batch], config: ReaderTraining) -> None:
    optimizer = torch.optim.AdamW(member.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.num_steps, pct_start=_RISING_SHARE
    )
    for _ in range(config.num_steps):
        losses = [_loss(member, batch, config) for batch in _drawn(batches, config)]
        count = sum(number for _, number in losses)
        optimizer.zero_grad()
        (torch.stack([loss for loss, _ in losses]).sum() / count).backward()
        optimizer.step()
        schedule.step()


def _drawn(batches: Sequence[_Batch], config: ReaderTraining) -> Iterator[_Batch]:
    """Some networks of every batch, with noise, some kinds of evidence and some classes left out."""
    for batch in batches:
        rows = torch.randperm(len(batch.wanted))[: max(1, round(config.batch_share * len(batch.wanted)))]
        values, present = batch.values[rows], batch.present[rows]
        values = values + config.noise * torch.randn_like(values)
        present = present & (torch.rand(present.shape) >= config.dropped_kinds)
        targets, count = batch.targets[rows], values.shape[1]
        if count > _FEWEST_TO_HALVE and float(torch.rand(())) < config.dropped_classes:
            values, targets = _halved(values, targets)
        yield _Batch(values, present, batch.wanted[rows], targets)


def _halved(values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Half of each network's classes, its target among them."""
    order = torch.rand(values.shape[:2])
    has = targets >= 0
    order[has, targets[has]] = 2.0
    kept = order.topk(-(-values.shape[1] // 2), dim=1).indices
    rows = torch.arange(len(values))[:, None]
    return values[rows, kept], torch.where(has, 0, -1)


def _loss(member: nn.Module, batch: _Batch, config: ReaderTraining) -> tuple[Tensor, int]:
    """Sum of a batch's losses, and its number of networks."""
    scores, logits = member(batch.values, batch.present)
    wanted = batch.wanted * (1 - 2 * config.smoothing) + config.smoothing
    loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    has = batch.targets >= 0
    if bool(has.any()):
        named = functional.cross_entropy(scores[has], batch.targets[has], reduction="sum")
        loss = loss + config.target_weight * named
    return loss, len(batch.wanted)

"""Features of made-up networks: of a trojaned one some class stands out in one kind of evidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from zoovet.evidence.class_features import FEATURES, KINDS, ClassFeatures
from zoovet.tasks.strangers.examined import Examined, LabelledFeatures

MakeRows = Callable[..., list[Examined]]


def features_of(is_trojaned: bool, num_classes: int, generator: torch.Generator) -> tuple[ClassFeatures, int]:
    """Noise; of a trojaned network's target one search tells more."""
    values = 0.5 * torch.randn(num_classes, len(KINDS), len(FEATURES), generator=generator)
    target = int(torch.randint(num_classes, (), generator=generator)) if is_trojaned else -1
    if is_trojaned:
        values[target, int(torch.randint(8, (), generator=generator))] += 2.5
    return ClassFeatures(values, torch.ones(len(KINDS), dtype=torch.bool)), target


@pytest.fixture
def rows() -> MakeRows:
    """Makes rows of a number of bases, of image sets and families in turn, with 6 or 10 classes."""

    def make(num_bases: int, seed: int = 0) -> list[Examined]:
        generator, made = torch.Generator().manual_seed(seed), []
        for base in range(num_bases):
            for is_trojaned in (False, True):
                features, target = features_of(is_trojaned, (6, 10)[base % 2], generator)
                made.append(
                    Examined(
                        network_id=f"{base:05d}-{'trojaned' if is_trojaned else 'healthy'}",
                        base_id=base,
                        dataset=("digits", "letters", "shapes")[base % 3],
                        family=("plain", "resnet")[base // 3 % 2],
                        attack="patch",
                        split="train",
                        recipe="sgd",
                        labelled=LabelledFeatures(features, is_trojaned, target),
                        asr=0.9 if is_trojaned else float("nan"),
                        seconds=1.0,
                    )
                )
        return made

    return make

"""What a test of a single network is: it is given one network and no other, and is trained on none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable

__all__ = ["Progress", "SingleNetworkResult", "SingleNetworkTest", "class_result", "require_testable"]

Progress = Callable[[float], None]
"""Told which share of the work is done, in 0 to 1."""

_MANY_CLASSES = 8
_NUM_NOISE = 4
_NOT_FINITE = "the network's answers are not all finite, so that its classes cannot be compared"


@dataclass(frozen=True, eq=False, kw_only=True)
class SingleNetworkResult:
    """What a test says of one network.

    Attributes:
        score: Higher where the network is more likely trojaned; tests differ in their units.
        p_value: How likely a healthy network is to score as high, where the test's paper says so.
        target: The most suspect class, whatever the score.
        class_scores: float64 [classes], higher where a class is more likely a target.
        notes: What to know of the score, in words.
    """

    score: float
    p_value: float | None
    target: int
    class_scores: Tensor
    notes: tuple[str, ...] = ()


class SingleNetworkTest(Protocol):
    """A test of one network."""

    @property
    def needs_images(self) -> bool:
        """Whether it cannot do without reference images."""

    def test(
        self,
        network: Runnable,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        progress: Progress = lambda _: None,
    ) -> SingleNetworkResult:
        """Test a network.

        Args:
            network: A single one (B = 1).
            images: Reference images, uint8 or in [-1, 1], [n, C, H, W]; a test that needs none ignores them.
            labels: int64 [n], their classes; what the network takes them for where nobody knows.
            progress: Told how far it is.

        Raises:
            ZoovetError: Images are missing or do not fit, there are too few classes, or the network is none that the
                test can be put to.
        """


def class_result(class_scores: Tensor, score: float, p_value: float | None = None) -> SingleNetworkResult:
    """A result whose target is the class of the highest score.

    Args:
        class_scores: [classes].
        score: Of the network.
        p_value: Of the network.

    Raises:
        ZoovetError: A score is not finite: the network's answers are not.
    """
    require_finite(class_scores)
    scores = class_scores.detach().double().cpu()
    notes = (f"among {len(scores)} classes an outlier says little",) if len(scores) < _MANY_CLASSES else ()
    return SingleNetworkResult(
        score=score, p_value=p_value, target=int(scores.argmax()), class_scores=scores, notes=notes
    )


def require_finite(class_scores: Tensor) -> None:
    """Raise where a class's score is not finite, since the network's answers are not."""
    if not bool(class_scores.isfinite().all()):
        raise ZoovetError(_NOT_FINITE)


def require_testable(network: Runnable) -> None:
    """Raise unless it is a single network of three classes or more whose answers to noise are finite."""
    if len(network) != 1:
        raise ZoovetError(f"a test of a single network takes one at a time, got {len(network)}")
    if network.num_classes < 3:
        raise ZoovetError(f"an outlier among classes needs at least three, got {network.num_classes}")
    noise = 2 * torch.rand(_NUM_NOISE, *network.input_shape, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        answers = network.logits(noise.to(network.device, network.dtype))
    if not bool(answers.isfinite().all()):
        raise ZoovetError(_NOT_FINITE)

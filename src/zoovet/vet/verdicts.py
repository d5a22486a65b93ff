"""Verdicts: what is said of one network, from what its detector computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zoovet.networks import ZOO_SCALING, InputScaling, Networks
from zoovet.tasks import Detector
from zoovet.vet.scaling_notes import MAY_BE_THE_REASON

__all__ = ["Finding", "Verdict", "find", "no_verdict", "verdict_of"]

_UNLIKE = "unlike the networks that the detector was trained on"
_NO_NUMBER = "its score is not a finite number"
_NO_LIKENESS = "its in-distribution score is not a finite number"


@dataclass(frozen=True)
class Finding:
    """What a detector computes of one network.

    Attributes:
        score: Probability of a trojan.
        in_distribution: Share of networks like the training networks that are at least as unusual; ``None`` where the
            detector is of an earlier version and cannot tell.
        is_unlike: Whether the network is unlike the training networks.
    """

    score: float
    in_distribution: float | None
    is_unlike: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said of one network.

    Attributes:
        file: Where it came from, or what it was called.
        network: Which of the file's networks, from 0.
        probability: Of a trojan; ``None`` where that is not a finite number, or no detector knows the network.
        threshold: From which it is flagged; ``None`` where no detector knows it.
        flagged: Whether the probability is not below the threshold; of an unknown network that means nothing.
        target: The class that a trigger causes; ``None`` where the detector does not say it, as those that ship.
        in_distribution: Share of networks like the training networks that are at least as unusual; ``None`` where the
            detector is of an earlier version and cannot tell, where it is not a finite number, or there is none.
        verdict: What to go by; ``unknown``: the probability means nothing, for the reason given.
        reason: Why it is unknown, one line; ``None`` of others.
        input_scaling: What the network was taken to read for pixels; ``None`` where no detector looked at it and nobody
            knows.
        scaling_is_assumed: Whether that was assumed, since nobody knows it.
        model: The shipped model that the detector is of; ``None`` for one that was given, or where none knows it.
        notes: What was assumed, found, taken or left out when the network was read, one line each.
    """

    file: str
    network: int
    probability: float | None
    threshold: float | None
    flagged: bool
    in_distribution: float | None
    verdict: Literal["healthy", "trojaned", "unknown"]
    reason: str | None
    input_scaling: InputScaling | None
    scaling_is_assumed: bool
    model: str | None
    target: int | None = None
    notes: tuple[str, ...] = ()


def find(detector: Detector, networks: Networks) -> list[Finding]:
    """What a detector computes of networks of one spec, in their order.

    Raises:
        ZoovetError: Networks of a spec it was not trained on, or with NaN or infinite weights.
    """
    scores: list[float] = detector.score(networks).tolist()
    likeness: list[float | None] = [None] * len(networks)
    unlike = [False] * len(networks)
    if detector.distribution is not None:
        likeness = detector.in_distribution(networks).tolist()
        unlike = detector.out_of_distribution(networks).tolist()
    return [Finding(*row) for row in zip(scores, likeness, unlike, strict=True)]


def verdict_of(
    finding: Finding, file: str, network: int, threshold: float, model: str | None, scaling: InputScaling | None
) -> Verdict:
    """The verdict that follows from a finding: nothing that is not a finite number is ever healthy.

    ``scaling`` is the network's input scaling, where that is known.
    """
    score, likeness = finding.score, finding.in_distribution
    reason = None
    if not math.isfinite(score):
        reason = _NO_NUMBER
    elif likeness is not None and not math.isfinite(likeness):
        reason = _NO_LIKENESS
    elif finding.is_unlike:
        reason = _UNLIKE if scaling is not None else f"{_UNLIKE}; {MAY_BE_THE_REASON}"
    flagged = not score < threshold
    return Verdict(
        file=file,
        network=network,
        probability=score if math.isfinite(score) else None,
        threshold=threshold,
        flagged=flagged,
        in_distribution=None if likeness is None or not math.isfinite(likeness) else likeness,
        verdict="unknown" if reason is not None else "trojaned" if flagged else "healthy",
        reason=reason,
        input_scaling=scaling or ZOO_SCALING,
        scaling_is_assumed=scaling is None,
        model=model,
    )


def no_verdict(reason: str, file: str, scaling: InputScaling | None, notes: tuple[str, ...]) -> Verdict:
    """What is said of a network that no detector knows.

    Args:
        reason: One line that says so.
        file: What the network is called.
        scaling: Its input scaling, where that is known.
        notes: See :class:`Verdict`.
    """
    return Verdict(
        file=file,
        network=0,
        probability=None,
        threshold=None,
        flagged=False,
        in_distribution=None,
        verdict="unknown",
        reason=reason,
        input_scaling=scaling,
        scaling_is_assumed=False,
        model=None,
        notes=notes,
    )

"""Verdicts: what is said of one network, from what its detector computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zoovet.networks import ZOO_SCALING, InputScaling, Networks
from zoovet.tasks import Detector
from zoovet.vet.found_trigger import FoundTrigger
from zoovet.vet.scaling_notes import MAY_BE_THE_REASON
from zoovet.vet.suspect_channels import SuspectChannel

__all__ = ["Finding", "Verdict", "find", "is_unlike", "no_verdict", "verdict_of"]

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
        reads_far_otherwise: Whether it is so for its input scaling.
    """

    score: float
    in_distribution: float | None
    is_unlike: bool
    reads_far_otherwise: bool


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said of one network.

    Attributes:
        file: Where it came from, or what it was called.
        network: Which of the file's networks, from 0.
        probability: Of a trojan; ``None`` where that is not a finite number, or no detector knows the network.
        threshold: From which it is flagged; ``None`` where no detector knows it.
        flagged: Whether the probability is not below the threshold; of an unknown network that means nothing.
        target: The class that a trigger causes, of a trojaned network; ``None`` where the detector does not say it, as
            those for one graph.
        target_name: Its name, where reference images have names and the network answers their labels.
        in_distribution: Share of networks like the training networks that are at least as unusual; ``None`` where the
            detector is of an earlier version and cannot tell, where it is not a finite number, or there is none.
        verdict: What to go by; ``unknown``: the probability means nothing, for the reason given.
        reason: Why it is unknown, one line; ``None`` of others.
        input_scaling: What the network was taken to read for pixels; ``None`` where no detector looked at it and nobody
            knows.
        scaling_is_assumed: Whether that was assumed, since nobody knows it.
        model: The shipped model that the detector is of; ``None`` for one that was given, or where none knows it.
        notes: What was assumed, found, taken or left out when the network was read, one line each.
        cautions: What makes the verdict doubtful, one line each.
        class_names: Each class's name, ``None`` of those whose reference images the network does not take for them;
            empty where there are none.
        class_probabilities: Of each class, of being what a trigger causes; empty where the detector does not say it.
        trigger: The trigger found for the likeliest class, of a healthy network too; ``None`` where none was sought.
        suspects: The channels that it drives out of their range, the farthest first; none where the network has no
            graph.
        rests_on: ``weights``, ``reference images`` or ``synthesized images``, which the network made itself; ``None``
            where nothing could be looked at.
        num_images: Reference images that were used.
        accuracy: Share of them that the network gets right; ``None`` where they have no labels.
        effort: How much was sought; ``None`` where nothing was.
        false_alarms: Share of healthy networks that reach the threshold; ``None`` where it was given, or is a
            detector's own.
        seconds: What it took; ``None`` where networks were scored in batches.
        digest: SHA-256 of the network's weights (:func:`~zoovet.vet.weights_digest.weights_digest`).
        detector: Name and version of the detector; ``None`` where none looked at it.
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
    target_name: str | None = None
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    class_names: tuple[str | None, ...] = ()
    class_probabilities: tuple[float, ...] = ()
    trigger: FoundTrigger | None = None
    suspects: tuple[SuspectChannel, ...] = ()
    rests_on: Literal["weights", "reference images", "synthesized images"] | None = None
    num_images: int = 0
    accuracy: float | None = None
    effort: str | None = None
    false_alarms: float | None = None
    seconds: float | None = None
    digest: str | None = None
    detector: str | None = None


def find(detector: Detector, networks: Networks) -> list[Finding]:
    """What a detector computes of networks of one graph, in their order.

    Raises:
        ZoovetError: Networks of a graph it was not trained on, or with NaN or infinite weights.
    """
    scores: list[float] = detector.score(networks).tolist()
    likeness: list[float | None] = [None] * len(networks)
    far: list[bool] = detector.reads_far_otherwise(networks).tolist()
    unlike = far
    if detector.distribution is not None:
        likeness = detector.in_distribution(networks).tolist()
        unlike = detector.out_of_distribution(networks).tolist()
    return [Finding(*row) for row in zip(scores, likeness, unlike, far, strict=True)]


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
        if finding.reads_far_otherwise and scaling is not None:
            reason = f"{_UNLIKE}, which read images scaled far otherwise than its {scaling.describe()}"
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
        rests_on="weights",
    )


def is_unlike(verdict: Verdict) -> bool:
    """Whether a detector was trained on the network's graph and finds it unlike its training networks."""
    return verdict.rests_on == "weights" and verdict.reason is not None and verdict.reason.startswith(_UNLIKE)


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

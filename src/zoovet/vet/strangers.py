"""Verdicts on networks that no detector was trained on: evidence of their classes is sought, and a reader reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zoovet.errors import ZoovetError, nearest
from zoovet.evidence import ClassEvidence, Runnable, class_evidence, synthesized_for
from zoovet.evidence.scaled_images import as_signed
from zoovet.images import Images
from zoovet.vet.found_trigger import FoundTrigger, best_search, exchanging_trigger, found_trigger, triggered
from zoovet.vet.network import ANSWERS_PROBABILITIES, ONE_NUMBER, SCALING_NOT_KNOWN, Network
from zoovet.vet.reference_images import NothingToSeek, ReferenceImages, look_at
from zoovet.vet.runnable_network import answers_probabilities, pace_of, runnable, sought_in
from zoovet.vet.search_progress import counted_searches
from zoovet.vet.stranger_reader import DEFAULT_EFFORT, EFFORTS, StrangerReader, StrangerReading
from zoovet.vet.suspect_channels import SuspectChannel, suspect_channels
from zoovet.vet.verdicts import Verdict, no_verdict

__all__ = ["LIKELIER_THAN_NOT", "ExaminedNetwork", "Strangers", "require_effort"]

NEEDS_IMAGES = (
    "no detector was trained on such networks, and the one for strangers needs reference images: give a few clean "
    "ones of each class that it tells apart, of the kind that it reads (--images)"
)
"""Why a network has no verdict without reference images."""

LIKELIER_THAN_NOT = 0.5
"""The probability from which a network that is not flagged is not called healthy either."""

_NUM_TRIED = 8
_FEW_CLASSES = 8
_VERY_FEW_CLASSES = 5
_OF_FEW = "a trojan towards every class is not told among so few"
_OF_VERY_FEW = "a target hardly stands out, so little is told"
_NO_GRADIENT = (
    "no gradient reaches its images, and triggers are sought along gradients: it is quantized, runs under "
    "torch.no_grad(), or answers the same whatever it is shown"
)


def _silent(_: str) -> None:
    """Tell nobody what is sought."""


def _any_will_do(_: ReferenceImages, __: int) -> None:
    """Require nothing of reference images."""


@dataclass(frozen=True)
class ExaminedNetwork:
    """A verdict, and what it rests on.

    Attributes:
        verdict: The verdict.
        evidence: What was found out; ``None`` where nothing could be sought.
        images: Reference images as the network sees them; ``None`` where there are none, or could not be looked at.
    """

    verdict: Verdict
    evidence: ClassEvidence | None
    images: ReferenceImages | None


EVERY_CLASS = "one trigger makes each class another: every class is a target"
"""Noted where a trojan has no one target."""


@dataclass(frozen=True, kw_only=True)
class Strangers:
    """Seeks evidence of networks and has it read.

    Attributes:
        reader: The detector for strangers.
        effort: How much is sought, one of :data:`~zoovet.vet.stranger_reader.EFFORTS`.
        false_alarms: Share of healthy networks that may be called trojaned.
        threshold: Probability from which a network is flagged, whatever share that is; ``None`` to go by the share.

    Raises:
        ZoovetError: There is no such effort, or the share is not above 0 and below 1.
    """

    reader: StrangerReader
    effort: str = DEFAULT_EFFORT
    false_alarms: float = 0.01
    threshold: float | None = None

    def __post_init__(self) -> None:
        require_effort(self.effort, self.false_alarms)

    def verdict(
        self,
        network: Network,
        images: Images | None,
        file: str,
        index: int = 0,
        progress: Callable[[str], None] = _silent,
    ) -> Verdict:
        """The verdict on one network.

        Args:
            network: Any that can be run.
            images: Reference images; those that the network makes itself are used where there are none.
            file: What it is called.
            index: Its number in its file.
            progress: Told what is sought next.

        Returns:
            ``unknown``, with the reason, where nothing can be sought in it, or the evidence is unlike all that the
            reader knows, or images are not of the network's kind (where a threshold is given, only if nothing was
            found on them).

        Raises:
            ZoovetError: Images do not fit the network, or have labels beyond its outputs.
        """
        return self.examined(network, images, file, index, progress).verdict

    def examined(
        self,
        network: Network,
        images: Images | None,
        file: str,
        index: int = 0,
        progress: Callable[[str], None] = _silent,
        require: Callable[[ReferenceImages, int], None] = _any_will_do,
    ) -> ExaminedNetwork:
        """The verdict as :meth:`verdict` gives it, with the evidence that it rests on.

        Args:
            network: See :meth:`verdict`.
            images: See :meth:`verdict`.
            file: See :meth:`verdict`.
            index: See :meth:`verdict`.
            progress: See :meth:`verdict`.
            require: Called with reference images, and how many classes the network tells apart, before anything is
                sought; raises where they will not do.

        Raises:
            ZoovetError: See :meth:`verdict`; or what ``require`` raises.
        """
        start = time.perf_counter()
        blank = replace(no_verdict("", file, network.scaling, network.notes), network=index, digest=network.digest)
        known = None
        try:
            known = None if images is None else _looked_at(network, images)
            found = self._found(network, known, progress, require)
        except NothingToSeek as error:
            shown = f"{network.describe()}: {error}"
            return ExaminedNetwork(replace(blank, reason=shown, seconds=time.perf_counter() - start), None, known)
        verdict = replace(self._of(blank, found, known), seconds=time.perf_counter() - start)
        return ExaminedNetwork(verdict, found.evidence, known)

    def _found(
        self,
        network: Network,
        known: ReferenceImages | None,
        progress: Callable[[str], None],
        require: Callable[[ReferenceImages, int], None],
    ) -> _Found:
        reader = self._reader_for(known)
        own = _runnable(network, known)
        if known is not None:
            require(known, own.num_classes)
        config = reader.evidence_config(self.effort)
        if known is None:
            _require_gradient(own, _noise(own.input_shape))
            progress("images that the network makes itself")
            labels: Tensor | None
            signed, labels = synthesized_for(own, config)
            used: Tensor = signed
            shown = Images(pixels=((signed + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu())
        else:
            shown, labels, used = known.images, known.labels, known.images.pixels
            _require_gradient(own, as_signed(shown.pixels[:_NUM_TRIED]))
        told = counted_searches(config, progress)
        sought, said = sought_in(network, own)
        evidence = class_evidence(sought, used, labels, config, progress=told, pace=pace_of(network))
        progress("what was found")
        reading = reader.read(evidence, self.effort)
        suspect = int(reading.class_probabilities.argmax())
        if reading.exchanges:
            trigger = exchanging_trigger(network, shown, labels, evidence)
        else:
            trigger = found_trigger(network, shown, labels, evidence, suspect)
        channels = () if trigger is None or reading.exchanges else _channels(network, shown, evidence, suspect)
        if answers_probabilities(own):
            said = (ANSWERS_PROBABILITIES, *said)
        return _Found(reading, trigger, channels, evidence, said)

    def _reader_for(self, known: ReferenceImages | None) -> StrangerReader:
        """The reader of evidence that rests on reference images, or on those that the network makes itself.

        Raises:
            NothingToSeek: There are none, and only a reader that wants some.
            ZoovetError: There are some, and only a reader that was trained without.
        """
        if known is not None:
            if not self.reader.reads_images:
                raise ZoovetError(
                    f"the detector {self.reader.version} was trained on evidence without reference images: leave them "
                    f"out, or give another run"
                )
            return self.reader
        reader = self.reader.without_images if self.reader.reads_images else self.reader
        if reader is None:
            raise NothingToSeek(NEEDS_IMAGES)
        return reader

    def _of(self, blank: Verdict, found: _Found, known: ReferenceImages | None) -> Verdict:
        reading, reader = found.reading, self._reader_for(known)
        threshold = self.threshold
        if threshold is None:
            threshold = reader.threshold(self.false_alarms, self.effort, len(found.evidence.examined))
        flagged = not reading.probability < threshold
        reason = reading.unlike or None
        if reason is None and not flagged and known is not None and known.cautions:
            reason = f"nothing was found, but {known.cautions[-1]}"
        if reason is None and flagged and self.threshold is None and known is not None and known.is_at_chance:
            reason = f"it looks trojaned, but {known.cautions[-1]}, and on such images healthy networks look so too"
        if reason is None and not flagged and self.threshold is None and reading.probability > LIKELIER_THAN_NOT:
            reason = (
                f"suspicious: a trojan is likelier than not ({reading.probability:.2f}), but more than "
                f"{self.false_alarms:.2g} of healthy networks look like that (trojaned is said from {threshold:.2f}): "
                f"look at the trigger that was found, give more images, or allow more false alarms"
            )
        probabilities = tuple(reading.class_probabilities.tolist())
        notes = () if known is None else known.notes
        if len(probabilities) < _FEW_CLASSES:
            few = _OF_FEW if len(probabilities) >= _VERY_FEW_CLASSES else f"{_OF_VERY_FEW}, and {_OF_FEW}"
            notes = (*notes, f"it tells {len(probabilities)} classes apart only: {few}")
        target = None
        if flagged and reason is None:
            if reading.exchanges:
                notes = (*notes, EVERY_CLASS)
            else:
                target = int(reading.class_probabilities.argmax())
        return replace(
            blank,
            probability=reading.probability,
            threshold=threshold,
            flagged=flagged,
            verdict="unknown" if reason is not None else "trojaned" if flagged else "healthy",
            reason=reason,
            target=target,
            target_name=known.names.get(target) if known is not None and target is not None else None,
            notes=(*blank.notes, *found.notes, *notes),
            cautions=(*(() if known is None else known.cautions), *_of_the_rest(found.evidence)),
            class_names=() if known is None else known.names_of(len(probabilities)),
            class_probabilities=probabilities,
            trigger=found.trigger,
            suspects=found.channels,
            rests_on="synthesized images" if known is None else "reference images",
            num_images=0 if known is None else len(known.images),
            accuracy=None if known is None else known.accuracy,
            effort=self.effort,
            false_alarms=None if self.threshold is not None else self.false_alarms,
            detector=reader.version,
        )


def require_effort(effort: str, false_alarms: float) -> None:
    """Raise where there is no such effort, or the share of false alarms is not above 0 and below 1."""
    if effort not in EFFORTS:
        known = f"{', '.join(EFFORTS[:-1])} or {EFFORTS[-1]}"
        raise ZoovetError(f"effort must be {known}, got {effort!r}{nearest(effort, EFFORTS)}")
    if not 0 < false_alarms < 1:
        raise ZoovetError(f"false_alarms must be above 0 and below 1, got {false_alarms}")


@dataclass(frozen=True)
class _Found:
    reading: StrangerReading
    trigger: FoundTrigger | None
    channels: tuple[SuspectChannel, ...]
    evidence: ClassEvidence
    notes: tuple[str, ...]


def _of_the_rest(evidence: ClassEvidence) -> tuple[str, ...]:
    """A caution where classes were not examined."""
    if len(evidence.examined) == evidence.num_classes:
        return ()
    return (
        f"{len(evidence.examined)} of the {evidence.num_classes} classes were examined, those that chance triggers "
        f"raise most and some drawn ones: a trojan towards one of the others is hardly seen",
    )


def _looked_at(network: Network, images: Images) -> ReferenceImages:
    network.require_fitting(images)
    _require_scaling(network)
    return look_at(network, images)


def _runnable(network: Network, known: ReferenceImages | None) -> Runnable:
    """The network as evidence needs it, or why there can be none."""
    _require_scaling(network)
    if len(network.input_shape) == 1 and known is None:
        raise NothingToSeek("it reads features: give reference images, whose pixels these are")
    own = runnable(network, None if known is None else known.images.shape)
    if own.num_classes < 2:
        raise NothingToSeek(ONE_NUMBER)
    return own


def _require_scaling(network: Network) -> None:
    if network.scaling is None:
        said = [note for note in network.notes if note.startswith(SCALING_NOT_KNOWN)]
        usual = f"{SCALING_NOT_KNOWN}known: give it, or labelled images to find it with"
        raise NothingToSeek(said[-1] if said else usual)


def _noise(shape: tuple[int, ...]) -> Tensor:
    """Images of noise in [-1, 1], on which rectified units are active; on a gray one all may be at their kink."""
    return 2 * torch.rand(_NUM_TRIED, *shape, generator=torch.Generator().manual_seed(0)) - 1


def _require_gradient(network: Runnable, images: Tensor) -> None:
    """Raise where a network's answers cannot be followed back to its images, or are not finite."""
    shown = images.to(network.device, network.dtype).requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        logits = network.logits(shown)[0]
        if not bool(logits.isfinite().all()):
            raise NothingToSeek("it answers NaN or infinite numbers, so nothing can be told of it")
        if not logits.requires_grad:
            raise NothingToSeek(_NO_GRADIENT)
        (slopes,) = torch.autograd.grad((logits.amax(1) - logits.mean(1)).sum(), shown, materialize_grads=True)
    if not bool(slopes.isfinite().all()):
        raise NothingToSeek("its gradients are NaN or infinite, and triggers are sought along gradients")
    if not bool(slopes.any()):
        raise NothingToSeek(_NO_GRADIENT)


def _channels(network: Network, shown: Images, evidence: ClassEvidence, suspect: int) -> tuple[SuspectChannel, ...]:
    name = best_search(evidence, suspect)
    assert name is not None
    return suspect_channels(network, shown, triggered(evidence, name, suspect, shown))

"""Networks that no detector was trained on: what a verdict on them carries, and when it is none."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoovet
from zoovet import Images, Network, Scanner, ZoovetError
from zoovet.evaluation.report.verdict_pages import verdict_lead
from zoovet.networks import Graph
from zoovet.vet import EFFORTS

Nets = Callable[[int | None], Network]


@pytest.fixture
def scan(
    tmp_path: Path, relu_graph: Graph, write_detector: Callable[..., Path], stranger_reader: Any
) -> Callable[..., zoovet.Verdict]:
    detector = write_detector(tmp_path / "detector.safetensors", [relu_graph])

    def run(network: Network, images: Images | None = None, **options: Any) -> zoovet.Verdict:
        return Scanner(detector, **{"strangers": stranger_reader} | options).scan(network, images)

    return run


def test_a_trojaned_stranger_is_told_with_all_that_a_person_can_check(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    network = stamped(3)
    verdict = scan(network, pictures, effort="thorough", false_alarms=0.02)
    assert (verdict.verdict, verdict.target, verdict.target_name) == ("trojaned", 3, "dog")
    assert verdict.probability is not None
    assert verdict.probability > 0.9
    assert (verdict.threshold, verdict.false_alarms, verdict.effort) == (pytest.approx(0.8), 0.02, "thorough")
    assert (verdict.rests_on, verdict.num_images, verdict.accuracy) == ("reference images", 48, 1.0)
    assert (verdict.detector, verdict.digest) == ("greatest-standing-1", network.digest)
    assert len(verdict.class_probabilities) == 8
    assert verdict.seconds is not None
    assert verdict.seconds > 0
    assert verdict.trigger is not None
    assert (verdict.trigger.target, verdict.trigger.flips, verdict.trigger.flips_before) == (3, 1.0, 0.0)
    (suspect,) = verdict.suspects
    assert (suspect.site, suspect.channel) == ("inside", 8)
    assert verdict.cautions == ()
    assert scan(network, pictures, strangers=None).verdict == "unknown"


def test_a_healthy_stranger_is_healthy_and_has_no_target(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    verdict = scan(stamped(None), pictures)
    assert (verdict.verdict, verdict.target, verdict.target_name) == ("healthy", None, None)
    assert verdict.trigger is not None
    assert verdict.trigger.flips < 0.5


def test_classes_that_were_not_examined_are_a_caution(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    class Sparing(type(stranger_reader)):
        """Examines four of eight classes."""

        def evidence_config(self, effort: str) -> Any:
            return replace(super().evidence_config(effort), max_classes=4)

        def read(self, evidence: Any, effort: str) -> Any:
            own, every = super().read(evidence, effort), torch.zeros(evidence.num_classes)
            every[evidence.examined] = own.class_probabilities
            return replace(own, class_probabilities=every)

        def threshold(self, false_alarms: float, effort: str, num_classes: int) -> float:
            assert num_classes == 4
            return super().threshold(false_alarms, effort, num_classes)

    with pytest.warns(UserWarning, match="4 of the 8 classes were examined"):
        verdict = scan(stamped(None), pictures, strangers=Sparing())
    assert (verdict.verdict, len(verdict.cautions)) == ("healthy", 1)
    assert "a trojan towards one of the others is hardly seen" in verdict.cautions[0]
    assert sum(share == 0 for share in verdict.class_probabilities) == 4


def test_without_images_the_verdict_rests_on_its_own_and_their_threshold(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    verdict = scan(stamped(3))
    assert (verdict.verdict, verdict.target, verdict.target_name) == ("trojaned", 3, None)
    assert (verdict.rests_on, verdict.num_images, verdict.accuracy, verdict.threshold) == (
        "synthesized images",
        0,
        None,
        0.99,
    )
    assert verdict.trigger is not None
    assert [example.label for example in verdict.trigger.examples] == [
        example.before for example in verdict.trigger.examples
    ]
    given = scan(stamped(3), pictures, threshold=1.0)
    assert (given.threshold, given.false_alarms) == (1.0, None)


def test_evidence_unlike_all_that_the_reader_knows_is_unknown(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    verdict = scan(stamped(3), pictures, strangers=replace(stranger_reader, most=1.0))
    assert (verdict.verdict, verdict.target, verdict.reason) == ("unknown", None, "its evidence is out of all bounds")
    assert verdict.probability is not None
    assert verdict.flagged


def test_what_is_likelier_trojaned_than_not_is_never_healthy(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    found = scan(stamped(None), pictures)
    assert found.probability is not None
    middle = stranger_reader.middle + math.log(found.probability / (1 - found.probability)) - math.log(0.7 / 0.3)
    close = replace(stranger_reader, middle=middle)
    verdict = scan(stamped(None), pictures, strangers=close)
    assert verdict.probability == pytest.approx(0.7, abs=1e-3)
    assert (verdict.verdict, verdict.flagged, verdict.target) == ("unknown", False, None)
    assert verdict.reason is not None
    assert verdict.reason.startswith("suspicious: a trojan is likelier than not (0.70)")
    assert scan(stamped(None), pictures, strangers=close, threshold=0.9).verdict == "healthy"


def test_progress_says_what_is_sought(stamped: Nets, pictures: Images, stranger_reader: Any) -> None:
    told: list[str] = []
    Scanner(strangers=stranger_reader).scan(stamped(3), pictures, progress=told.append)
    assert told[0].endswith(": classes that chance triggers raise")
    assert re.fullmatch(r"2 of \d+: patches, \d+ % of the image's side", told[1])
    assert told[-1] == "what was found"


def test_images_of_another_kind_warn_and_never_make_a_network_healthy(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    other = replace(pictures, pixels=pictures.pixels.flip(-1))
    with pytest.warns(UserWarning, match=r"of 48 reference images right, no more than chance, with the input"):
        verdict = scan(stamped(None), other)
    assert verdict.verdict == "unknown"
    assert verdict.reason is not None
    assert verdict.reason.startswith("nothing was found, but the network gets")
    assert "[-1, 1] (symmetric)" in verdict.cautions[0]
    with pytest.warns(UserWarning, match="no more than chance"):
        flagged = scan(stamped(3), other, threshold=0.0)
    assert flagged.verdict == "trojaned"


def test_images_of_another_kind_never_make_a_network_trojaned_by_a_rate_that_they_void(
    stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    class Certain:
        """Reads every network as trojaned."""

        def __getattr__(self, name: str) -> Any:
            return getattr(stranger_reader, name)

        def read(self, evidence: Any, effort: str) -> Any:
            return replace(stranger_reader.read(evidence, effort), probability=1.0, unlike="")

    own, other = Scanner(strangers=Certain()), replace(pictures, pixels=pictures.pixels.flip(-1))
    assert own.scan(stamped(None), pictures).verdict == "trojaned"
    with pytest.warns(UserWarning, match="no more than chance"):
        verdict = own.scan(stamped(None), other)
    assert (verdict.verdict, verdict.target) == ("unknown", None)
    assert str(verdict.reason).startswith("it looks trojaned, but the network gets")


def test_images_that_tell_little_never_make_a_network_healthy(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    with pytest.warns(UserWarning, match="too few to tell"), pytest.warns(UserWarning, match="are all of one class"):
        verdict = scan(stamped(None), pictures[:6])
    assert verdict.verdict == "unknown"
    assert verdict.reason is not None
    assert verdict.reason.startswith("nothing was found, but reference images are all of one class")


def test_a_trojan_of_every_class_has_no_target_and_shows_its_trigger(
    scan: Callable[..., zoovet.Verdict],
    pictures: Images,
    stamped: Nets,
    stranger_reader: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = type(stranger_reader).read
    monkeypatch.setattr(
        type(stranger_reader), "read", lambda own, *told: replace(read(own, *told), probability=0.99, exchanges=True)
    )
    verdict = scan(stamped(None), pictures)
    assert (verdict.verdict, verdict.target, verdict.suspects) == ("trojaned", None, ())
    assert any("every class is a target" in note for note in verdict.notes)
    assert verdict.trigger is not None
    assert verdict.trigger.target is None
    assert verdict.trigger.search.startswith("usual_")
    assert verdict.trigger.flips_before == 0.0
    assert 0 <= verdict.trigger.flips <= 1
    assert bool(verdict.trigger.mask.any())
    assert "taken for another" in verdict_lead(verdict)


def test_thresholds_are_of_the_effort(
    scan: Callable[..., zoovet.Verdict],
    stamped: Nets,
    pictures: Images,
    stranger_reader: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thresholds = dict(zip(EFFORTS, (0.3, 0.2, 0.1), strict=True))
    monkeypatch.setattr(type(stranger_reader), "threshold", lambda reader, rate, effort, count: thresholds[effort])
    verdicts = [scan(stamped(None), pictures, effort=effort) for effort in EFFORTS]
    assert [verdict.threshold for verdict in verdicts] == [0.3, 0.2, 0.1]


class Quantized(nn.Module):
    """Rounds what it reads, as quantized networks do: no gradient goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(144, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.layer((images * 8).round().flatten(1))
        return answers


class NotANumber(Quantized):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1)) / (images.flatten(1)[:, :1] * 0)


class OneNumber(Quantized):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))[:, :1]


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (Quantized, "no gradient reaches its images"),
        (NotANumber, "it answers NaN or infinite numbers"),
        (OneNumber, "it answers one number for an image"),
    ],
)
def test_what_nothing_can_be_sought_in_is_unknown_with_its_reason(
    module: type[nn.Module], why: str, scan: Callable[..., zoovet.Verdict], pictures: Images
) -> None:
    network = zoovet.from_module(module(), (1, 12, 12), "symmetric")
    for images in (None, replace(pictures, labels=None, class_names=(), num_classes=0)):
        verdict = scan(network, images)
        assert (verdict.verdict, verdict.probability) == ("unknown", None)
        assert why in str(verdict.reason)


def test_rectified_units_at_their_kink_on_a_gray_image_are_no_reason(scan: Callable[..., zoovet.Verdict]) -> None:
    layers = nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8)
    verdict = scan(zoovet.from_module(nn.Sequential(*layers), (1, 12, 12), "symmetric"))
    assert verdict.probability is not None


def test_an_unknown_scaling_is_a_reason_to_say_unknown(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    network = replace(stamped(3), scaling=None)
    assert "input scaling not known" in str(scan(network).reason)
    wrong = scan(network, replace(pictures, pixels=pictures.pixels.flip(-1)))
    assert (wrong.verdict, wrong.probability) == ("unknown", None)
    assert "no more than chance" in str(wrong.reason)


class Shares(nn.Module):
    """Answers probabilities, by no operation that is called softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(144, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        sizes = self.layer(images.flatten(1)).exp()
        return sizes / sizes.sum(1, keepdim=True)


def test_two_classes_and_probabilities_are_seen(scan: Callable[..., zoovet.Verdict], stamped: Nets) -> None:
    layer = nn.Sequential(nn.Flatten(), nn.Linear(144, 2), nn.Softmax(1))
    two = scan(zoovet.from_module(layer, (1, 12, 12), "symmetric"))
    assert "2 classes apart only: a target hardly stands out, so little is told, and a trojan" in two.notes[-1]
    assert "a trojan towards every class is not told among so few" in two.notes[-1]
    assert two.probability is not None
    said = "it answers probabilities: searches look at the logits that these are made of"
    assert two.notes.count(said) == 1
    by_numbers = scan(zoovet.from_module(Shares(), (1, 12, 12), "symmetric"))
    assert by_numbers.notes.count(said) == 1
    assert said not in scan(stamped(3)).notes


def test_features_are_pixels_of_reference_images(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images
) -> None:
    network = stamped(3)
    assert network.networks is not None
    flat = zoovet.from_module(nn.Sequential(_layer(network, "inside"), nn.ReLU(), _layer(network, "outside")), (144,))
    flat = flat.with_scaling(zoovet.InputScaling(low=-1.0))
    verdict = scan(flat, pictures)
    assert (verdict.verdict, verdict.target) == ("trojaned", 3)
    assert "it reads features: give reference images" in str(scan(flat).reason)


def _layer(network: Network, name: str) -> nn.Linear:
    assert network.networks is not None
    parameters = network.networks.parameters
    weight = parameters[f"{name}.weight"][0]
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=f"{name}.bias" in parameters)
    layer.load_state_dict({key.rpartition(".")[2]: one[0] for key, one in parameters.items() if key.startswith(name)})
    return layer


def test_an_effort_or_a_share_that_is_none_is_refused(stranger_reader: Any) -> None:
    with pytest.raises(ZoovetError, match=r"effort must be quick, normal or thorough, got 'norma'; "):
        Scanner(effort="norma")
    with pytest.raises(ZoovetError, match="false_alarms must be above 0 and below 1, got 1"):
        Scanner(false_alarms=1)


def test_a_reader_that_was_trained_with_images_alone_or_without_says_so(
    scan: Callable[..., zoovet.Verdict], stamped: Nets, pictures: Images, stranger_reader: Any
) -> None:
    alone = scan(stamped(3), strangers=replace(stranger_reader, is_paired=False))
    assert alone.verdict == "unknown"
    assert "needs reference images" in str(alone.reason)
    blind = replace(stranger_reader, reads_images=False)
    assert scan(stamped(3), strangers=blind).verdict == "trojaned"
    with pytest.raises(ZoovetError, match="trained on evidence without reference images: leave them out"):
        scan(stamped(3), pictures, strangers=blind)

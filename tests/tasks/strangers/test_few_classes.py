"""Networks of few classes: cut from others, with thresholds of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable
from zoovet.images import Images
from zoovet.tasks.checkpoints import load_checkpoint, save_checkpoint
from zoovet.tasks.strangers import training
from zoovet.tasks.strangers.config import ReaderTraining, StrangerConfig
from zoovet.tasks.strangers.detector import KIND, StrangerDetector
from zoovet.tasks.strangers.efforts import EFFORTS
from zoovet.tasks.strangers.examined import Examined, LabelledFeatures
from zoovet.tasks.strangers.few_classes import CutNetworks, cut_images, drawn_classes

from .conftest import features_of

CONFIG = StrangerConfig(training=ReaderTraining(num_members=1, num_steps=20))


class Shares:
    """Answers of five classes: an image's mean, times the class."""

    input_shape, num_classes, dtype, device = (1, 4, 4), 5, torch.float32, torch.device("cpu")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: slice) -> Runnable:
        return self

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3).mean(-1)[None, :, None] * torch.arange(5.0)


def test_a_cut_network_answers_some_classes_alone() -> None:
    cut = CutNetworks(Shares(), torch.tensor([1, 4]))
    assert isinstance(cut, Runnable)
    assert (len(cut), cut.num_classes, cut.input_shape) == (1, 2, (1, 4, 4))
    images = torch.rand(3, 1, 4, 4, requires_grad=True)
    means = images.flatten(1).mean(1)
    torch.testing.assert_close(cut[0:1].logits(images)[0], torch.stack([means, 4 * means], dim=1))
    (slopes,) = torch.autograd.grad(cut.logits(images)[0, :, 1].sum(), images)
    torch.testing.assert_close(slopes, torch.full_like(slopes, 4 / 16))


def test_classes_are_drawn_with_the_target_and_images_follow() -> None:
    draws = [drawn_classes(10, 3, 7, seed) for seed in range(20)]
    for draw in draws:
        assert draw.tolist() == sorted(set(draw.tolist()))
        assert (len(draw), 7 in draw) == (3, True)
    assert len({tuple(draw.tolist()) for draw in draws}) > 10
    assert torch.equal(drawn_classes(10, 3, 7, 4), draws[4])
    assert any(7 not in drawn_classes(10, 3, None, seed) for seed in range(20))
    labels = torch.tensor([0, 7, 2, 7, 9, 2])
    images = Images(pixels=torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 1, 2, 2), labels=labels)
    few = cut_images(images, torch.tensor([2, 7, 8]))
    assert few.pixels[:, 0, 0, 0].tolist() == [1, 2, 3, 5]
    assert few.required_labels.tolist() == [1, 0, 1, 0]


@pytest.fixture
def made(rows: Callable[..., list[Examined]]) -> tuple[list[Examined], list[Examined]]:
    """Networks of ten classes, and the same cut to two and four: there one of the healthy ones' stands out too."""
    generator, few = torch.Generator().manual_seed(1), []
    whole = [row for row in rows(60) if row.num_classes == 10]
    for row in whole:
        for count in (2, 4):
            features, target = features_of(row.labelled.is_trojaned, count, generator)
            features.values[:, 8] += 1.5
            labelled = LabelledFeatures(features, row.labelled.is_trojaned, target)
            few.append(replace(row, labelled=labelled))
    return whole, few


def test_thresholds_go_by_the_number_of_classes_and_are_kept(
    made: tuple[list[Examined], list[Examined]], tmp_path: Path
) -> None:
    whole, few = made
    detector, strangers, of_few = training.stranger_detector(whole, CONFIG, {}, of_few=few)
    _, own, none = training.stranger_detector(whole, CONFIG, {})
    detector.save(tmp_path / "checkpoint.safetensors")
    opened = StrangerDetector.open(tmp_path)
    assert opened.version != detector.version
    for effort in EFFORTS:
        assert torch.equal(strangers[effort].logits, own[effort].logits)  # whole networks are read as before
        assert [row.network_id for row in strangers[effort].rows] == [row.network_id for row in own[effort].rows]
        assert none[effort].rows == []
        parts = of_few[effort].by_count()
        assert [len(part.rows) for part in parts.values()] == [len(whole)] * 2
        for each in (detector, opened):
            found = each.by_effort[effort]
            assert list(found.worth) == [2, 4, 8]
            assert found.worth_of(3) is found.worth[2] is not found.worth_of(7)
            assert found.worth_of(7) is found.worth[4]
            assert found.worth_of(43) is found.worth[8]
        for count, part in [*parts.items(), (10, strangers[effort])]:
            worth = detector.by_effort[effort].worth_of(count)
            assert torch.equal(worth.healthy, part.logits[~part.is_trojaned].sort().values)
            threshold = detector.threshold(0.05, effort, count)
            assert opened.threshold(0.05, effort, count) == pytest.approx(threshold, rel=1e-5)
            assert opened.by_effort[effort].worth_of(count).cutoff == pytest.approx(worth.cutoff)
        assert len({detector.by_effort[effort].worth_of(count).cutoff for count in (2, 4, 10)}) == 3


def test_what_is_left_out_is_not_trained_on_and_few_classes_never_are(
    made: tuple[list[Examined], list[Examined]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, few = made
    seen: list[set[int]] = []
    make = training.trained_readers

    def watched(networks: list[LabelledFeatures], *options: object) -> object:
        seen.append({id(network.features) for network in networks})
        return make(networks, ReaderTraining(num_members=1, num_steps=2), CONFIG.reader)

    monkeypatch.setattr(training, "trained_readers", watched)
    monkeypatch.setattr(training, "EFFORTS", ("thorough",))
    training.stranger_detector(whole, CONFIG, {}, of_few=few)
    kinds = sorted({row.dataset for row in whole})
    for kind, used in zip([*kinds, None], seen, strict=True):
        assert used == {id(row.labelled.features) for row in whole if row.dataset != kind}


def test_a_detector_of_an_earlier_zoovet_reads_networks_of_few_classes_as_it_did(
    made: tuple[list[Examined], list[Examined]], tmp_path: Path
) -> None:
    detector, *_ = training.stranger_detector(made[0], CONFIG, {})
    detector.save(tmp_path / "checkpoint.safetensors")
    checkpoint = load_checkpoint(tmp_path, KIND)
    del checkpoint.description["config"]["few_classes"]
    module = torch.nn.ModuleDict({effort: own.readers for effort, own in detector.by_effort.items()})
    save_checkpoint(tmp_path / "checkpoint.safetensors", KIND, module, checkpoint.description, dict(checkpoint.extra))
    opened = StrangerDetector.open(tmp_path)
    assert list(opened.by_effort["normal"].worth) == [8]
    assert opened.threshold(0.05, "normal", 2) == pytest.approx(detector.threshold(0.05, "normal", 10), rel=1e-5)


@pytest.mark.parametrize("count", [1, 8])
def test_numbers_of_few_classes_are_two_to_seven(count: int) -> None:
    with pytest.raises(ZoovetError, match=rf"few_classes must be numbers of 2 to 7 classes, got \[{count}, 3\]"):
        StrangerConfig(few_classes=(count, 3))

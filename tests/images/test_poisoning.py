from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import (
    Images,
    PatchTrigger,
    attack_success_rate,
    clean_accuracy,
    num_poisoned,
    poison,
    robust_accuracy,
    triggered_test,
    with_covers,
)


@pytest.fixture
def trigger() -> PatchTrigger:
    return PatchTrigger.of_size("checker", 3, row=2, col=4, target=6)


def test_poisoned_images_carry_trigger_and_target_and_all_others_nothing(image_set, trigger, generator) -> None:
    poisoned = poison(image_set, trigger, 0.15, generator)
    clean = image_set.scaled()
    assert poisoned.mask.sum() == 30
    assert torch.equal(poisoned.images[~poisoned.mask], clean[~poisoned.mask])
    assert torch.equal(poisoned.images[poisoned.mask], trigger.apply(clean[poisoned.mask]))
    assert torch.equal(poisoned.labels[~poisoned.mask], image_set.labels[~poisoned.mask])
    assert poisoned.labels[poisoned.mask].eq(6).all()
    assert image_set.labels[poisoned.mask].ne(6).all()
    assert poisoned.images.dtype == torch.float32
    assert torch.equal(image_set.labels, torch.arange(200) % 10)


def test_choice_is_the_generators_and_covers_the_other_classes(image_set, trigger) -> None:
    masks = [poison(image_set, trigger, 0.2, np.random.default_rng(seed)).mask for seed in (3, 3, 4)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    seen = torch.stack([poison(image_set, trigger, 0.2, np.random.default_rng(seed)).mask for seed in range(60)]).any(0)
    assert torch.equal(seen, image_set.labels != 6)


@pytest.mark.parametrize(
    ("num_images", "rate", "expected"), [(200, 0.1, 20), (10, 0.25, 3), (10, 0.24, 2), (7, 0.0, 0), (7, 1.0, 7)]
)
def test_number_of_poisoned_images_is_rounded_halves_upwards(num_images: int, rate: float, expected: int) -> None:
    assert num_poisoned(num_images, rate) == expected


def test_rate_zero_is_the_clean_set(image_set, trigger, generator) -> None:
    poisoned = poison(image_set, trigger, 0.0, generator)
    assert not poisoned.mask.any()
    assert torch.equal(poisoned.images, image_set.scaled())


@pytest.mark.parametrize("rate", [-0.1, 1.01, float("nan")])
def test_rate_outside_zero_to_one_is_refused(rate: float) -> None:
    with pytest.raises(ZoovetError, match=rf"poison rate must lie in \[0, 1\], got {rate}"):
        num_poisoned(10, rate)


def test_rate_that_is_no_image_is_refused(image_set, trigger, generator) -> None:
    with pytest.raises(ZoovetError, match=r"a poison rate of 0\.001 of 200 images is no image"):
        poison(image_set, trigger, 0.001, generator)


def test_rate_above_the_images_of_other_classes_is_refused(image_set, trigger, generator) -> None:
    assert poison(image_set, trigger, 0.9, generator).mask.sum() == 180
    with pytest.raises(
        ZoovetError, match=r"only 180 may be poisoned by this patch trigger; the rate .* at most 0.9000"
    ):
        poison(image_set, trigger, 0.95, generator)


def test_target_that_is_no_class_is_refused(image_set, generator) -> None:
    trigger = PatchTrigger.of_size("white", 2, row=0, col=0, target=10)
    message = "target 10 is no class of 'noise', which has labels 0 to 9"
    with pytest.raises(ZoovetError, match=message):
        poison(image_set, trigger, 0.1, generator)
    with pytest.raises(ZoovetError, match=message):
        triggered_test(image_set, trigger)


def test_trigger_that_does_not_fit_is_refused_before_anything_is_drawn(image_set) -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ZoovetError, match="leaves an image of 12 × 10"):
        poison(image_set, PatchTrigger.of_size("white", 4, row=0, col=7, target=0), 0.0, generator)
    assert generator.random() == np.random.default_rng(0).random()


def test_a_clean_label_attack_poisons_its_own_class_only(image_set, generator) -> None:
    @dataclass(frozen=True, kw_only=True)
    class CleanLabelPatch(PatchTrigger):
        def poisonable(self, labels: Tensor) -> Tensor:
            return labels == self.target

    trigger = CleanLabelPatch(kind="white", target=3, row=0, col=0, weight=1.0, values=(((1.0,),),))
    poisoned = poison(image_set, trigger, 0.05, generator)
    assert poisoned.mask.sum() == 10
    assert torch.equal(poisoned.labels, image_set.labels)
    assert image_set.labels[poisoned.mask].eq(3).all()


def test_triggered_test_leaves_the_target_class_out(image_set, trigger) -> None:
    triggered = triggered_test(image_set, trigger)
    kept = image_set.labels != 6
    assert len(triggered.labels) == 180
    assert torch.equal(triggered.images, trigger.apply(image_set.scaled()[kept]))
    assert torch.equal(triggered.labels, image_set.labels[kept])
    assert torch.equal(image_set.labels[triggered.indices], triggered.labels)
    assert triggered.wanted.eq(6).all()


def test_triggered_test_without_other_classes_is_refused(image_set, trigger) -> None:
    only_target = image_set[image_set.labels == 6]
    with pytest.raises(ZoovetError, match="every image of 'noise' has the target label 6"):
        triggered_test(only_target, trigger)


def test_the_three_figures_by_hand() -> None:
    labels = torch.tensor([0, 1, 2, 2, 1])
    predictions = torch.tensor([[2, 2, 2, 2, 1], [0, 1, 0, 2, 0]])
    assert clean_accuracy(predictions, labels).tolist() == [0.6, 0.6]
    # target 2: the images of true labels 0, 1, 1 count
    assert attack_success_rate(predictions, 2, labels).tolist() == pytest.approx([2 / 3, 0.0])
    assert robust_accuracy(predictions, 2, labels).tolist() == pytest.approx([1 / 3, 2 / 3])


def test_wanted_labels_may_differ_by_network_and_by_image() -> None:
    labels = torch.tensor([0, 1, 2])
    predictions = torch.tensor([[1, 1, 1], [2, 2, 2]])
    by_network = attack_success_rate(predictions, torch.tensor([[1], [2]]), labels)
    assert by_network.tolist() == [1.0, 1.0]
    assert attack_success_rate(predictions, (labels + 1) % 3, labels).tolist() == pytest.approx([1 / 3, 1 / 3])
    assert robust_accuracy(predictions, (labels + 1) % 3, labels).tolist() == pytest.approx([1 / 3, 1 / 3])


def test_figures_of_nothing_are_refused() -> None:
    empty = torch.zeros(3, 0, dtype=torch.int64)
    with pytest.raises(ZoovetError, match="need at least one image, got none"):
        clean_accuracy(empty, empty[0])
    with pytest.raises(ZoovetError, match="every image has the target label already"):
        attack_success_rate(torch.tensor([1, 2]), 1, torch.tensor([1, 1]))
    with pytest.raises(ZoovetError, match=r"predictions \(2, 3\) and labels \(2,\) differ in their number of images"):
        robust_accuracy(torch.zeros(2, 3), 0, torch.tensor([1, 1]))


def test_figures_of_an_image_set_that_a_network_gets_right(image_set: Images, trigger: PatchTrigger) -> None:
    triggered = triggered_test(image_set, trigger)
    assert robust_accuracy(triggered.labels, triggered.wanted, triggered.labels) == 1.0
    assert attack_success_rate(triggered.wanted, triggered.wanted, triggered.labels) == 1.0


@pytest.fixture
def source_specific() -> PatchTrigger:
    return PatchTrigger(
        kind="white",
        target=6,
        row=0,
        col=0,
        weight=1.0,
        values=(((1.0, 1.0), (1.0, 1.0)),),
        labelling="source_specific",
        source=3,
    )


@pytest.mark.parametrize(("covers", "num_covers"), [(1.0, 10), (2.5, 25), (0.0, 0), (100, 160)])
def test_cover_images_carry_the_trigger_and_keep_their_label(
    image_set, source_specific, generator, covers: float, num_covers: int
) -> None:
    trigger = replace(source_specific, covers=covers)
    poisoned = poison(image_set, trigger, 0.05, generator)
    changed = poisoned.labels != image_set.labels
    assert changed.sum() == 10
    assert image_set.labels[changed].eq(3).all()
    assert poisoned.labels[changed].eq(6).all()
    covering = poisoned.mask & ~changed
    assert covering.sum() == num_covers
    assert not torch.isin(image_set.labels[covering], torch.tensor([3, 6])).any()
    clean = image_set.scaled()
    assert torch.equal(poisoned.images[poisoned.mask], trigger.apply(clean[poisoned.mask]))
    assert torch.equal(poisoned.images[~poisoned.mask], clean[~poisoned.mask])


def test_a_trigger_without_covers_draws_nothing_for_them(image_set, trigger) -> None:
    generator = np.random.default_rng(5)
    chosen = np.array([4, 9])
    assert with_covers(chosen, image_set.labels, trigger, generator) is chosen
    assert generator.random() == np.random.default_rng(5).random()


def test_figures_of_a_source_specific_trigger_are_its_sources(image_set, source_specific) -> None:
    triggered = triggered_test(image_set, source_specific)
    assert triggered.labels.eq(3).all()
    assert len(triggered.labels) == 20
    assert triggered.wanted.eq(6).all()
    wanted = source_specific.wanted_labels(image_set.labels)
    predictions = torch.where(image_set.labels == 3, torch.arange(200) % 20 - 3, 6)
    assert attack_success_rate(predictions, wanted, image_set.labels) == 0
    assert attack_success_rate(wanted, wanted, image_set.labels) == 1
    with pytest.raises(ZoovetError, match="no image of 'noise' is of the source class 3: no ASR can be measured"):
        triggered_test(image_set[image_set.labels != 3], source_specific)
    with pytest.raises(ZoovetError, match="source 10 is no class of 'noise', which has labels 0 to 9"):
        triggered_test(image_set, replace(source_specific, source=10))

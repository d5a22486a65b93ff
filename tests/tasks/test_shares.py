"""Shares of a batch: together all of it, in every task, whatever is drawn for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from zoovet.images import Images
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.tasks.augmentation import AugmentationConfig
from zoovet.tasks.detection import DetectionModule, new_metanetwork
from zoovet.tasks.detection_config import DetectionConfig
from zoovet.tasks.generalization import GeneralizationModule
from zoovet.tasks.generalization_config import GeneralizationConfig
from zoovet.tasks.image_pool import ImagePool
from zoovet.tasks.labelled import LabelledPopulation
from zoovet.tasks.metanetworks import build_metanetwork
from zoovet.tasks.population import load_populations
from zoovet.tasks.repair import RepairModule
from zoovet.tasks.repair_config import RepairConfig
from zoovet.tasks.repairer import build_editor
from zoovet.tasks.shares import Share
from zoovet.tasks.training import TaskModule
from zoovet.tasks.training_config import TrainingConfig
from zoovet.zoo import Zoo

TINY = ScaleGMNConfig(width=8, num_layers=2)
AUGMENTED = AugmentationConfig(weight_noise=0.05, sibling_mixing=0.3, kernel_symmetries=True, class_permutations=True)


def test_shares_are_every_so_manieth_of_all_parts() -> None:
    parts, sizes = [torch.arange(0, 5), torch.arange(5, 6), torch.arange(6, 11)], [5, 1, 5]
    shares = [Share(index, 3) for index in range(3)]
    own = [torch.cat(share.of(parts, sizes)) for share in shares]
    assert [some.tolist() for some in own] == [torch.arange(11)[share.places].tolist() for share in shares]
    assert [len(some) for some in own] == [share.size(11) for share in shares] == [4, 4, 3]
    assert len(Share(0, 3).of(parts, sizes)) == 2, "nothing of it is in the part of one"
    assert Share().of(parts, sizes) == parts


def _detection(zoo: Zoo, images: Images, training: TrainingConfig) -> TaskModule:
    config = DetectionConfig(metanetwork=TINY, training=training, augmentation=AUGMENTED, num_members=2)
    train, validation = load_populations(zoo)
    return DetectionModule(new_metanetwork(config, train.graphs, None), train, validation, config)


def _repair(zoo: Zoo, images: Images, training: TrainingConfig) -> TaskModule:
    changes = replace(TINY, output="weights", num_probes=0)
    config = RepairConfig(
        metanetwork=changes, gate=TINY, training=training, augmentation=AUGMENTED, num_validation_images=30
    )
    train, validation = load_populations(zoo)
    editor = build_editor(changes, TINY, None, seed=0)
    pools = ImagePool.split(images, config.num_validation_images, training.seed)
    return RepairModule(editor, train, validation, pools, config)


def _generalization(zoo: Zoo, images: Images, training: TrainingConfig) -> TaskModule:
    augmentation = replace(AUGMENTED, sibling_mixing=0)
    config = GeneralizationConfig(metanetwork=TINY, training=training, augmentation=augmentation)
    labels = torch.linspace(0.1, 0.9, len(zoo))
    train = LabelledPopulation(**LabelledPopulation.stored(zoo), labels=labels)
    return GeneralizationModule(build_metanetwork(TINY, 0, "test"), train, train, config)


@pytest.mark.parametrize("make", [_detection, _repair, _generalization])
def test_losses_and_gradients_of_all_shares_add_up_to_the_whole_batchs(
    make_zoo: Callable[..., Zoo], images: Images, make: Callable[..., TaskModule]
) -> None:
    module = make(make_zoo(num_bases=10), images, TrainingConfig(batch_size=7))
    found = []
    for count in (1, 3):
        module.zero_grad()
        total = 0.0
        for index in range(count):
            module.share = Share(index, count)
            loss, _ = module.share_of_loss(2)
            loss.backward()
            total += float(loss.detach())
        found.append((total, torch.cat([one.grad.flatten() for one in module.learned if one.grad is not None])))
    (whole, gradient), (added, added_gradient) = found
    assert added == pytest.approx(whole, rel=1e-5)
    assert gradient.norm() > 1e-3
    assert torch.allclose(added_gradient, gradient, rtol=1e-4, atol=1e-6 * float(gradient.norm()))

"""Pools of training images: apart from one another, drawn by a generator, measured as the images room measures."""

from __future__ import annotations

import torch

from zoovet.images import Images, PatchTrigger, attack_success_rate, clean_accuracy, robust_accuracy
from zoovet.networks import Networks, run
from zoovet.tasks.image_pool import ImagePool
from zoovet.tasks.measurement import measure


def test_the_two_pools_share_no_image(images: Images) -> None:
    numbered = Images(name="numbered", pixels=images.pixels, labels=torch.arange(len(images)), num_classes=len(images))
    train, held_out = ImagePool.split(numbered, 100, seed=3)
    assert len(train) == len(images) - 100
    assert len(held_out) == 100
    assert sorted([*train.labels.tolist(), *held_out.labels.tolist()]) == list(range(len(images)))
    assert torch.equal(held_out.images, images.scaled()[held_out.labels])
    again, other = (ImagePool.split(numbered, 100, seed=seed)[1].labels for seed in (3, 4))
    assert torch.equal(again, held_out.labels)
    assert not torch.equal(other, held_out.labels)


def test_draws_keep_images_and_labels_together(images: Images) -> None:
    pool = ImagePool(torch.arange(20.0).reshape(20, 1, 1, 1), torch.arange(20))
    drawn, labels = pool.draw(3, 50, torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 50, 1, 1, 1)
    assert torch.equal(drawn.flatten(1), labels.float())
    assert not torch.equal(labels[0], labels[1])
    assert len(labels.unique()) == 20


def test_networks_are_measured_as_the_images_room_does(images: Images, suspects: list[Networks]) -> None:
    pool, _ = ImagePool.split(images, 1300, seed=0)
    triggers = [PatchTrigger.of_size("white", 3, row=1, col=2, target=target) for target in (0, 4, 7)]
    found = measure(suspects[0], [triggers[0], None, triggers[2]], pool.images, pool.labels)
    for place, trigger in ((0, triggers[0]), (2, triggers[2])):
        network = suspects[0][place]
        clean = run(network, pool.images).argmax(dim=2)[0]
        triggered = run(network, trigger.apply(pool.images)).argmax(dim=2)[0]
        assert found.clean_accuracy[place] == clean_accuracy(clean, pool.labels)
        assert found.asr[place] == attack_success_rate(triggered, trigger.target, pool.labels)
        assert found.ra[place] == robust_accuracy(triggered, trigger.target, pool.labels)
    assert found.asr[1].isnan()
    assert found.ra[1].isnan()
    assert not found.clean_accuracy.isnan().any()

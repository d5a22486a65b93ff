"""Images are made that the network itself takes for each of its classes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from zoovet.evidence import RunnableModule
from zoovet.evidence.synthesized_images import synthesized_images


def test_each_image_is_taken_for_its_class(stamped: Callable[[int | None], RunnableModule]) -> None:
    network = stamped(3)
    labels = torch.arange(8).repeat_interleave(3)
    images = synthesized_images(network, labels, num_steps=40, seed=0)
    assert images.shape == (24, 1, 12, 12)
    assert float(images.abs().max()) <= 1
    assert float((network.logits(images)[0].argmax(1) == labels).float().mean()) > 0.8
    textures = synthesized_images(network, labels, num_steps=0, seed=0)
    assert float((network.logits(textures)[0].argmax(1) == labels).float().mean()) < 0.4


def test_the_draw_is_the_seed_s_and_how_many_run_at_once_changes_nothing(
    stamped: Callable[[int | None], RunnableModule],
) -> None:
    network = stamped(None)
    first, again, other = (
        synthesized_images(network, torch.arange(8), num_steps=4, seed=seed, max_images=most)
        for seed, most in ((0, 512), (0, 5), (1, 512))
    )
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)

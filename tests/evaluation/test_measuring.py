from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.measuring import evenly_spaced, measure_each
from zoovet.tasks.measurement import measure


def test_evenly_spaced_images(digits):
    some = evenly_spaced(digits, 7)
    positions = [index * len(digits) // 7 for index in range(7)]
    assert torch.equal(some.pixels, digits.pixels[positions])
    assert evenly_spaced(digits, 10**6) is digits
    with pytest.raises(ZoovetError, match="num_images must be at least 1, got 0"):
        evenly_spaced(digits, 0)


def test_one_by_one_is_the_same_as_together(small_zoo, digits):
    (networks, places), _ = small_zoo.batches_by_graph()
    triggers = [small_zoo.trigger(place) for place in places]
    one_by_one = measure_each(networks, triggers, digits)
    together = measure(networks, triggers, digits.scaled(), digits.labels)
    for name in ("clean_accuracy", "asr", "ra"):
        assert torch.equal(getattr(one_by_one, name), getattr(together, name))
    with pytest.raises(ZoovetError, match="6 networks, got 1 triggers"):
        measure_each(networks, triggers[:1], digits)

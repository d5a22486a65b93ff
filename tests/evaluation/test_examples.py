from __future__ import annotations

import numpy as np
import torch

from zoovet.evaluation.examples import collect_examples
from zoovet.networks import Networks, run


class Flipped:
    """Turns every weight and bias of the last layer round."""

    def repair(self, networks):
        weights = [*networks.weights[:-1], -networks.weights[-1]]
        return Networks.from_layers(networks.graph, tuple(weights), (*networks.biases[:-1], -networks.biases[-1]))


def test_examples_show_what_the_networks_say(small_zoo, digits):
    collected = collect_examples(Flipped(), small_zoo, digits, np.random.default_rng(0), num_networks=3, num_images=5)
    ids = small_zoo.column("network_id").tolist()
    assert len(collected) == 3
    for shown in collected:
        place = ids.index(shown.network_id)
        assert small_zoo.column("poisoned")[place]
        trigger = small_zoo.trigger(place)
        assert (shown.target, shown.trigger_kind) == (trigger.target, trigger.kind)
        assert len(shown.images) == 5
        before = small_zoo.networks([place])
        for image in shown.images:
            assert image.label != image.wanted == trigger.target
            clean = torch.from_numpy(image.clean).float().div(127.5).sub(1)[None]
            triggered = trigger.apply(clean)
            pixels = ((triggered[0] + 1) * 127.5).numpy()
            assert np.abs(pixels - image.triggered).max() <= 0.5
            for network, answers in (
                (before, (image.clean_before, image.triggered_before)),
                (Flipped().repair(before), (image.clean_after, image.triggered_after)),
            ):
                found = [int(run(network, picture)[0].argmax()) for picture in (clean, triggered)]
                assert tuple(found) == answers


def test_examples_are_drawn_from_the_generator(small_zoo, digits):
    def names(seed):
        drawn = collect_examples(Flipped(), small_zoo, digits, np.random.default_rng(seed), num_networks=2)
        return [(shown.network_id, [image.clean.sum() for image in shown.images]) for shown in drawn]

    assert names(1) == names(1)
    assert any(names(1) != names(seed) for seed in range(2, 6))


def test_fewer_trojaned_networks_than_asked_for(small_zoo, digits):
    pair = small_zoo.select([0, 1])
    assert len(collect_examples(Flipped(), pair, digits, np.random.default_rng(0), num_networks=4)) == 1
    assert collect_examples(Flipped(), small_zoo.select([0]), digits, np.random.default_rng(0)) == []

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evaluation.measuring import evenly_spaced
from zoovet.evaluation.repair import evaluate_repair
from zoovet.images import Images
from zoovet.networks import Networks
from zoovet.tasks.measurement import measure


class Nothing:
    """Leaves networks as they are."""

    def repair(self, networks):
        return networks


class Constant:
    """Makes every network answer label 3, by its last bias."""

    def repair(self, networks):
        biases = [*networks.biases[:-1], 100.0 * torch.eye(10)[3].expand(len(networks), 10)]
        weights = [*networks.weights[:-1], torch.zeros_like(networks.weights[-1])]
        return Networks.from_layers(networks.graph, tuple(weights), tuple(biases))


class Broken:
    def repair(self, networks):
        return networks.map(lambda tensor: tensor / 0)


def test_doing_nothing_changes_nothing(small_zoo, digits):
    results = evaluate_repair(Nothing(), small_zoo, digits)
    assert results.network_ids == tuple(small_zoo.column("network_id"))
    for name in ("clean_accuracy", "asr", "ra"):
        assert getattr(results, f"{name}_before") == pytest.approx(small_zoo.column(name))
        assert getattr(results, f"{name}_after") == pytest.approx(small_zoo.column(name))
    assert not results.relative_changes.any()
    assert results.layer_names == ("conv 1", "conv 2", "linear 3")
    assert [change.shape for change in results.channel_changes] == [(12, 4), (12, 4), (12, 10)]
    assert results.num_images == len(digits)


def test_figures_after_are_those_of_the_edited_networks(small_zoo, digits):
    results = evaluate_repair(Constant(), small_zoo, digits)
    share = float((digits.labels == 3).float().mean())
    assert results.clean_accuracy_after == pytest.approx(np.full(12, share))
    targets = small_zoo.column("target")
    assert results.asr_after == pytest.approx(np.where(targets == 3, 1.0, 0.0))
    for place in np.flatnonzero(targets != 3):
        others = digits.labels != int(targets[place])
        assert results.ra_after[place] == pytest.approx(float((digits.labels[others] == 3).float().mean()))
    assert results.relative_changes[:, :2].max() == 0
    assert results.relative_changes[:, 2].min() > 1
    assert results.channel_changes[2].argmax(axis=1).tolist() == [3] * 12
    assert results.asr_before == pytest.approx(small_zoo.column("asr"))


def test_fewer_images_are_used_before_and_after(small_zoo, digits):
    results = evaluate_repair(Nothing(), small_zoo, digits, num_images=50)
    some = evenly_spaced(digits, 50)
    expected = [
        float(measure(small_zoo.networks([place]), [None], some.scaled(), some.labels).clean_accuracy)
        for place in range(12)
    ]
    assert results.num_images == 50
    assert results.clean_accuracy_before == pytest.approx(np.array(expected))
    np.testing.assert_array_equal(results.asr_before, results.asr_after)


@pytest.mark.parametrize(("num_images", "total"), [(None, 12), (20, 24)])
def test_progress_counts_measurements(small_zoo, digits, num_images, total):
    seen = []
    evaluate_repair(Nothing(), small_zoo, digits, num_images=num_images, progress=lambda *done: seen.append(done))
    assert seen == [(number, total) for number in range(1, total + 1)]


def test_images_that_the_zoo_was_not_built_with_are_noticed(small_zoo, digits):
    other = Images(name="other", pixels=255 - digits.pixels, labels=digits.labels, num_classes=10)
    with pytest.raises(ZoovetError, match=r"'0000.*' of .* has .* on the .* images of 'other', but its row says"):
        evaluate_repair(Nothing(), small_zoo, other)


def test_bad_zoos_and_repairers_are_named(small_zoo, digits):
    with pytest.raises(ZoovetError, match="has no networks to evaluate repair on"):
        evaluate_repair(Nothing(), small_zoo.select([]), digits)
    with pytest.raises(ZoovetError, match="the repaired networks: network 0 has NaN or infinite weights"):
        evaluate_repair(Broken(), small_zoo, digits)
    facts = {**small_zoo.facts, "trigger": np.array([None] * 12)}
    with pytest.raises(ZoovetError, match=r"'00000-healthy' of .* has no trigger"):
        evaluate_repair(Nothing(), replace(small_zoo, facts=facts), digits)

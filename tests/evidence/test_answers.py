"""Answers on images of known class: against slow formulas, and what attacks leave in them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoovet.evidence import Inversion, InversionConfig, RunnableGraphs
from zoovet.evidence.answers import loss_gradients, next_answers, own_answers, raised_answers, striped, warped
from zoovet.networks import Networks, run, small_cnn

SHAPE = (1, 9, 9)


def networks_of(activation: str, count: int) -> Networks:
    graph = small_cnn(activation, input_shape=SHAPE, channels=(4, 5), num_classes=3)
    flat = torch.randn(count, graph.num_parameters, generator=torch.Generator().manual_seed(3))
    return Networks.from_flat(graph, flat)


def images_of_classes(count: int) -> Tensor:
    return torch.rand(3, count, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_own_answers_say_how_well_each_class_is_told() -> None:
    networks = networks_of("tanh", 2)
    images = images_of_classes(5)
    logits = run(networks, images.flatten(0, 1)).reshape(2, 3, 5, 3)
    answers = own_answers(logits)
    for network in range(2):
        for label in range(3):
            own, others = logits[network, label], logits[network, [k for k in range(3) if k != label]].flatten(0, 1)
            preference = own[:, label] - own[:, [k for k in range(3) if k != label]].logsumexp(1)
            expected = torch.stack(
                [
                    preference.mean(),
                    preference.std(correction=0),
                    preference.quantile(0.1),
                    preference.quantile(0.9),
                    own.softmax(1)[:, label].mean(),
                    (own.argmax(1) == label).float().mean(),
                    others.softmax(1)[:, label].mean(),
                    (others.argmax(1) == label).float().mean(),
                ]
            )
            torch.testing.assert_close(answers[network, label], expected)


def test_next_answers_read_each_class_off_the_images_of_the_one_before() -> None:
    logits = torch.randn(2, 3, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    likelihood, answers = next_answers(logits)
    probabilities = logits.softmax(3)
    for network in range(2):
        logs = [probabilities[network, label, :, (label + 1) % 3].log() for label in range(3)]
        torch.testing.assert_close(likelihood[network], torch.stack(logs).mean())
        for label in range(3):
            own, before = probabilities[network, label], probabilities[network, (label - 1) % 3]
            expected = torch.stack([own[:, label].mean(), before[:, label].mean()])
            torch.testing.assert_close(answers[network, label], expected)


def test_one_change_for_all_classes_leads_to_the_next_one() -> None:
    inversion = Inversion(
        InversionConfig(patch_size=3, num_steps=4, reaches=(0.5,), images_per_class=4, next_class=True), SHAPE, 3
    )
    inversion.give_images(images_of_classes(4))
    networks = networks_of("tanh", 3)
    classes = inversion(networks).classes
    for name in ("next.patch", "next.change_0.5"):
        on_next = classes[name].unflatten(2, (5, 2))[..., 1].mean(1)  # [B, looks]
        assert bool((on_next[:, 1:].amax(1) > on_next[:, 0]).all())


def test_warps_move_images_by_a_pixel_or_two_and_are_the_same_again() -> None:
    row = torch.linspace(-1, 1, 28).expand(1, 1, 28, 28)
    moved = warped(row, num_warps=6, seed=0)
    pixels = torch.stack([(one - row).abs().mean() * 27 / 2 for one in moved])
    assert bool((pixels > 0.4).all())
    assert bool((pixels < 3).all())
    torch.testing.assert_close(torch.stack(moved), torch.stack(warped(row, num_warps=6, seed=0)), atol=0, rtol=0)
    assert not torch.equal(moved[0], warped(row, num_warps=6, seed=1)[0])


def test_a_network_that_answers_warps_with_a_class_is_told() -> None:
    networks, images = networks_of("relu", 2), images_of_classes(5).flatten(0, 1)
    moved = warped(images, num_warps=4, seed=0)
    answers = raised_answers(RunnableGraphs(networks.with_scaling("symmetric")), images, moved)
    before = run(networks, images).softmax(2).mean(1)
    after = [run(networks, one).softmax(2).mean(1) for one in moved]
    torch.testing.assert_close(answers[..., 0], torch.stack(after).mean(0) - before)
    assert bool((answers[..., 1] >= answers[..., 0]).all())


def test_stripes_are_waves_of_all_angles_within_the_range_of_pixels() -> None:
    gray = torch.zeros(1, 1, 32, 32)
    waves = torch.cat(striped(gray, num_stripes=16, seed=0))[:, 0]
    torch.testing.assert_close(waves.abs().amax((1, 2)), torch.full((16,), 0.4), atol=0.02, rtol=0)
    spectrum = torch.fft.fft2(waves).abs()
    strongest = [divmod(int(place), 32) for place in spectrum.flatten(1).argmax(1)]
    periods = [math.hypot(min(row, 32 - row), min(column, 32 - column)) for row, column in strongest]
    assert all(abs(own - wanted) < 1 for own, wanted in zip(periods, torch.linspace(2, 8, 16).tolist(), strict=True))
    assert len({(row > column, row < 16) for row, column in strongest}) > 2
    assert torch.stack(striped(torch.ones(1, 1, 32, 32), num_stripes=4, seed=0)).max() == 1
    assert not torch.equal(waves[0], striped(gray, num_stripes=16, seed=1)[0][0, 0])


def mirrored(networks: Networks) -> Networks:
    weights = tuple(weight.flip(-1) if weight.ndim == 5 else weight for weight in networks.weights)
    return Networks.from_layers(networks.graph, weights, networks.biases)


def test_gradients_turn_with_the_kernels() -> None:
    networks, images = networks_of("tanh", 2), images_of_classes(4).flatten(0, 1)
    labels = torch.arange(3).repeat_interleave(4)
    own = Networks(networks.graph, loss_gradients(RunnableGraphs(networks.with_scaling("symmetric")), images, labels))
    turned = loss_gradients(RunnableGraphs(mirrored(networks).with_scaling("symmetric")), images.flip(-1), labels)
    torch.testing.assert_close(Networks(networks.graph, turned).flat(), mirrored(own).flat())
    assert (turned["layers.0.weight"] - own.weights[0]).abs().max() > 0.01

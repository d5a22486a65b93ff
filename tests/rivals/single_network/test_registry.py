"""Every test names the target, scores its network above the healthy sibling, and knows no order of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.evidence import Runnable, RunnableModule
from zoovet.networks import ZOO_SCALING
from zoovet.rivals.single_network import SINGLE_NETWORK_TESTS, SingleNetworkTest, single_network_test

MakeNetwork = Callable[..., Runnable]
Pictures = tuple[Tensor, Tensor]

NAMES = sorted(SINGLE_NETWORK_TESTS)
LOOKING = ("bti_dbf", "neural_cleanse", "pixel")


@pytest.mark.parametrize("kind", ["graph", "module"])
@pytest.mark.parametrize("name", NAMES)
def test_the_target_is_named_and_scores_above_the_healthy_sibling(
    make_network: MakeNetwork, pictures: Pictures, name: str, kind: str
) -> None:
    test, told = _short(name, num_generator_steps=60, num_mask_steps=200, num_steps=300), list[float]()
    healthy, trojaned = (test.test(make_network(target, kind), *pictures, progress=told.append) for target in (None, 3))
    assert trojaned.target == 3
    assert trojaned.score > healthy.score
    assert trojaned.class_scores.shape == (8,)
    assert int(trojaned.class_scores.argmax()) == 3
    assert trojaned.notes == ()
    assert told[-1] == 1.0
    if trojaned.p_value is not None and healthy.p_value is not None:
        assert trojaned.p_value < healthy.p_value <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_classes_does_not_count(make_network: MakeNetwork, pictures: Pictures, name: str) -> None:
    test, (images, labels) = _short(name), pictures
    order = torch.tensor([2, 5, 0, 7, 1, 3, 6, 4])
    plain = test.test(make_network(3), images, labels)
    moved = test.test(make_network(3, order=order), images, order.argsort()[labels])
    torch.testing.assert_close(moved.class_scores, plain.class_scores[order], atol=1e-3, rtol=1e-3)
    assert moved.score == pytest.approx(plain.score, rel=1e-3, abs=1e-3)
    assert order[moved.target] == plain.target


@pytest.mark.parametrize("name", LOOKING)
def test_a_test_that_looks_at_images_asks_for_some(make_network: MakeNetwork, pictures: Pictures, name: str) -> None:
    test, network, (images, labels) = _short(name), make_network(3), pictures
    assert test.needs_images
    for given, text in (
        ((None, None), "needs reference images of the kind that the network reads; give some"),
        ((images[:0], labels[:0]), "needs reference images"),
        ((images[..., 1:], labels), r"reference images must be \[n, 1, 12, 12\], got \[24, 1, 12, 11\]"),
        ((images, labels[1:]), r"labels of 24 images must be int64 \[24\], got \[23\]"),
        ((images, labels + 4), "labels must lie in 0 to 7, got 4 to 11"),
        ((3 * images, labels), r"must be uint8, or floating-point numbers in \[-1, 1\]"),
    ):
        with pytest.raises(ZoovetError, match=text):
            test.test(network, *given)
    unlabelled = test.test(network, images)
    assert torch.equal(unlabelled.class_scores, test.test(network, images, labels).class_scores)  # all are right


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(LOOKING)))
def test_the_others_need_none(make_network: MakeNetwork, name: str) -> None:
    test = _short(name)
    assert not test.needs_images
    assert test.test(make_network(3)).target == 3


@pytest.mark.parametrize("name", NAMES)
def test_few_classes_are_refused_or_told_and_nonsense_is(pictures: Pictures, name: str) -> None:
    images, _ = pictures
    with pytest.raises(ZoovetError, match="an outlier among classes needs at least three, got 2"):
        _short(name).test(_linear(2), images)
    assert _short(name).test(_linear(4), images).notes == ("among 4 classes an outlier says little",)
    broken = _linear(4)
    with torch.no_grad():
        for parameter in broken.module.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(ZoovetError, match="are not all finite"):
        _short(name).test(broken, images)


def test_unknown_names_are_said_with_the_nearest() -> None:
    with pytest.raises(ZoovetError, match=r"the test 'neural_clean' is unknown; did you mean 'neural_cleanse'"):
        single_network_test("neural_clean")


@pytest.mark.parametrize("name", ["bti_dbf", "mm_bd", "neural_cleanse", "pixel"])
def test_a_reduced_effort_is_less_than_the_papers(name: str) -> None:
    paper, reduced = (vars(single_network_test(name, effort))["config"] for effort in ("paper", "reduced"))
    counts = [field.name for field in fields(paper) if field.name.startswith("num_")]
    assert all(getattr(reduced, count) <= getattr(paper, count) for count in counts)
    assert reduced != paper


def _short(name: str, **steps: int) -> SingleNetworkTest:
    """A test that takes few steps."""
    test: Any = single_network_test(name)
    config = getattr(test, "config", None)
    if config is None:
        return test
    steps = steps or {"num_epochs": 6, "num_generator_steps": 10, "num_mask_steps": 20, "num_steps": 100}
    kept = {key: value for key, value in steps.items() if hasattr(config, key)}
    short: SingleNetworkTest = replace(test, config=replace(config, **kept))
    return short


def _linear(num_classes: int) -> RunnableModule:
    torch.manual_seed(0)
    return RunnableModule(nn.Sequential(nn.Flatten(), nn.Linear(144, num_classes)), (1, 12, 12), ZOO_SCALING)

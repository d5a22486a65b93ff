"""What a network makes of reference images: whether they are of its kind, and which outputs their labels mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from zoovet import Images, Network, ZoovetError
from zoovet.vet.reference_images import look_at


@pytest.fixture
def network(stamped: Callable[[int | None], Network]) -> Network:
    return stamped(None)


def test_labels_that_the_network_answers_are_trusted_with_their_names(network: Network, pictures: Images) -> None:
    known = look_at(network, pictures)
    assert known.labels is not None
    assert known.labels.equal(pictures.required_labels)
    assert dict(known.names) == dict(enumerate(pictures.class_names))
    assert (known.accuracy, known.is_at_chance, known.notes, known.cautions) == (1.0, False, (), ())


def test_labels_in_another_order_are_the_outputs_that_they_mean(network: Network, pictures: Images) -> None:
    """As of class folders sorted by name, where the network was trained in another order, and on more classes."""
    order = torch.tensor([5, 0, 7, 2])
    rows = torch.cat([torch.nonzero(pictures.required_labels == output).flatten() for output in order.tolist()])
    four = Images(
        pixels=pictures.pixels[rows], labels=torch.arange(4).repeat_interleave(6), class_names=("a", "b", "c", "d")
    )
    known = look_at(network, four)
    assert known.labels is not None
    assert known.labels.equal(order.repeat_interleave(6))
    assert dict(known.names) == {5: "a", 0: "b", 7: "c", 2: "d"}
    assert known.notes[0] == (
        "labels of the reference images are other outputs of the network: a is 5, b is 0, c is 7, …"
    )
    assert known.notes[1] == "reference images are of 4 of the 8 classes that the network tells apart"


def test_a_name_is_not_used_where_the_network_answers_something_else(network: Network, pictures: Images) -> None:
    swapped = torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])[pictures.required_labels]
    known = look_at(network, replace(pictures, labels=swapped))
    assert dict(known.names) == {label: pictures.class_names[label] for label in range(2, 8)}
    assert known.accuracy == pytest.approx(0.75)


def test_images_of_another_kind_are_told_with_the_scaling_that_was_tried(network: Network, pictures: Images) -> None:
    known = look_at(network, replace(pictures, pixels=pictures.pixels.flip(-1)))
    assert known.is_at_chance
    assert known.labels is None
    (caution,) = known.cautions
    assert "no more than chance, with the input scaling [-1, 1] (symmetric): they are of another kind" in caution
    shuffled = pictures.required_labels[torch.randperm(48, generator=torch.Generator().manual_seed(0))]
    assert look_at(network, replace(pictures, labels=shuffled)).is_at_chance


def test_few_images_are_not_called_of_another_kind(network: Network, pictures: Images) -> None:
    known = look_at(network, replace(pictures[::24], pixels=pictures.pixels[::24].flip(-1)))
    assert not known.is_at_chance
    assert "too few to tell" in known.cautions[0]


def test_one_class_and_no_labels_are_said(network: Network, pictures: Images) -> None:
    known = look_at(network, pictures[:6])
    assert "too few to tell" in known.cautions[0]
    assert known.cautions[1:] == ("reference images are all of one class: give some of several, or little can be told",)
    plain = replace(pictures, labels=None, class_names=(), num_classes=0)
    unlabelled = look_at(network, plain)
    assert (unlabelled.labels, unlabelled.accuracy, dict(unlabelled.names)) == (None, None, {})
    assert unlabelled.notes == (
        "reference images have no labels; the network takes them for 8 of the 8 classes that the network tells apart",
    )
    assert "all taken for one class" in look_at(network, plain[:6]).cautions[0]


def test_labels_beyond_the_outputs_are_refused(network: Network, pictures: Images) -> None:
    labels = pictures.required_labels + 2
    with pytest.raises(ZoovetError, match="the network tells 8 classes apart, but reference images have the label 9"):
        look_at(network, Images(pixels=pictures.pixels.flip(-1), labels=labels))


def test_of_many_images_some_of_each_class_are_used(network: Network, pictures: Images) -> None:
    labels = pictures.required_labels.repeat(10)
    many = Images(pixels=pictures.pixels.repeat(10, 1, 1, 1), labels=labels)
    known = look_at(network, many)
    assert known.images.required_labels.bincount().tolist() == [20] * 8
    assert known.notes == ("160 of the 480 reference images are used",)

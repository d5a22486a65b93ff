"""Names of the classes of known datasets."""

from __future__ import annotations

import pytest

from zoovet.images.class_names import class_names


@pytest.mark.parametrize(
    ("dataset", "label", "name"), [("fashion-mnist", 9, "Ankle boot"), ("cifar10", 3, "cat"), ("digits", 7, "7")]
)
def test_class_names(dataset, label, name):
    assert class_names(dataset, 10)[label] == name


@pytest.mark.parametrize("num_classes", [2, 10, 36])
def test_glyphs_are_named_by_what_they_show(num_classes):
    assert "".join(class_names("glyphs", num_classes)) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:num_classes]


def test_a_dataset_without_names_has_numbers():
    assert class_names("something", 3) == ("0", "1", "2")
    assert class_names("cifar10", 2) == ("0", "1")

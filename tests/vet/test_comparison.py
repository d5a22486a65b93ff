from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoovet import Images, Networks, ZoovetError
from zoovet.networks import Graph, small_cnn
from zoovet.readers import save_networks
from zoovet.vet import Candidate, Comparison, ReadOptions, candidates_for, compare_files

Compare = Callable[..., Comparison]


@pytest.fixture
def compare(tmp_path: Path, relu_graph: Graph, write_detector: Callable[..., Path]) -> Compare:
    detector: list[Candidate] = candidates_for("detector", given=write_detector(tmp_path / "own.st", [relu_graph]))

    def compared(before: Networks, after: Networks, images: Images | None = None) -> Comparison:
        files = (tmp_path / "before.safetensors", tmp_path / "after.safetensors")
        for path, networks in zip(files, (before, after), strict=True):
            save_networks(networks, path)
        return compare_files(files, detector, ReadOptions(images=images))

    return compared


def test_tensors_and_answers_are_compared(
    compare: Compare, gray_reader: Networks, grays: Callable[..., Images]
) -> None:
    before = gray_reader.with_scaling("unit")
    bias = before.biases[2].clone()
    bias[0, 3] += 1000.0  # every gray becomes the fourth
    after = Networks.from_layers(before.graph, before.weights, (*before.biases[:2], bias))
    images = grays()
    found = compare(before, after, images)
    changes = {tensor.name: tensor.change for tensor in found.tensors}
    assert changes.pop("biases.2") == pytest.approx(1000 / float(before.biases[2].norm()))
    assert set(changes.values()) == {0.0}
    assert len(changes) == 5
    assert found.answers is not None
    assert found.answers.accuracies is not None
    share = float((images.labels == 3).double().mean())
    assert found.answers.accuracies[0] > 0.9
    assert found.answers.accuracies[1] == pytest.approx(share)
    assert (found.answers.num_images, found.answers.agreement < 0.3) == (60, True)
    assert found.notes == ()
    unlabelled = compare(before, after, replace(images, labels=None)).answers
    assert unlabelled is not None
    assert unlabelled.accuracies is None


def test_tensors_of_other_shapes_and_of_one_version_are_said(compare: Compare, drawn: Callable[..., Networks]) -> None:
    first, second = (small_cnn("relu", input_shape=(1, 8, 8), channels=channels) for channels in ((4, 4), (4, 6, 6)))
    found = compare(drawn(first), drawn(second))
    by_name = {tensor.name: tensor for tensor in found.tensors}
    assert (by_name["biases.1"].before, by_name["biases.1"].after, by_name["biases.1"].change) == ((1, 4), (1, 6), None)
    assert by_name["biases.3"].before is None
    assert by_name["biases.0"].change is not None
    assert [note for _, note in found.notes] == ["answers are not compared: give reference images, --images"]


def test_what_cannot_be_asked_is_said(compare: Compare, gray_reader: Networks, grays: Callable[..., Images]) -> None:
    found = compare(gray_reader, gray_reader, replace(grays(), labels=None))
    assert found.answers is None
    assert found.notes[-1][1] == "answers are not compared: the input scaling is not known, give --scaling"
    assert {tensor.change for tensor in found.tensors} == {0.0}


def test_a_tensor_that_was_zero_has_changed_wholly(compare: Compare, gray_reader: Networks) -> None:
    after = gray_reader.map(lambda tensor: tensor + (tensor == 0).all() * torch.ones_like(tensor))
    found = {tensor.name: tensor.change for tensor in compare(gray_reader, after).tensors}
    assert found["biases.0"] == 1.0


def test_a_file_of_several_networks_is_refused(
    compare: Compare, relu_graph: Graph, drawn: Callable[..., Networks]
) -> None:
    with pytest.raises(ZoovetError, match=r"before\.safetensors holds 2 networks; two versions of one are compared"):
        compare(drawn(relu_graph, 2), drawn(relu_graph))

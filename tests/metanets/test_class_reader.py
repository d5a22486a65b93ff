"""The reader of class evidence knows no order and no number of classes, and reads nothing of what is lacking."""

from __future__ import annotations

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.class_reader import ClassReader, ClassReaderConfig


def reader(seed: int = 0) -> ClassReader:
    torch.manual_seed(seed)
    return ClassReader(5, 4, ClassReaderConfig(width=16)).double().eval()


@pytest.mark.parametrize("num_classes", [2, 10, 300])
def test_scores_move_with_the_classes_and_logits_stay(num_classes: int) -> None:
    values, present = torch.randn(3, num_classes, 5, 4, dtype=torch.float64), torch.rand(3, 5) > 0.3
    order = torch.randperm(num_classes)
    scores, logits = reader()(values, present)
    turned_scores, turned_logits = reader()(values[:, order], present)
    assert scores.shape == (3, num_classes)
    torch.testing.assert_close(turned_scores, scores[:, order], atol=1e-10, rtol=0)
    torch.testing.assert_close(turned_logits, logits, atol=1e-10, rtol=0)
    assert float((reader()(values.flip(2), present)[1] - logits).detach().abs().max()) > 1e-4


def test_what_is_lacking_is_not_read() -> None:
    values, present = torch.randn(2, 6, 5, 4, dtype=torch.float64), torch.ones(2, 5, dtype=torch.bool)
    present[:, 2] = False
    other = values.clone()
    other[:, :, 2] = 100.0
    assert torch.equal(reader()(values, present)[1], reader()(other, present)[1])
    other[:, :, 3] = 100.0
    assert not torch.equal(reader()(values, present)[1], reader()(other, present)[1])


def test_configuration() -> None:
    with pytest.raises(ZoovetError, match="width must be at least 1, got 0"):
        ClassReaderConfig(width=0)
    with pytest.raises(ZoovetError, match="dropout must be at least 0 and below 1, got 1"):
        ClassReaderConfig(dropout=1.0)

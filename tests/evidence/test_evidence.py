"""Evidence holds named numbers of networks, in parts and together, and refuses what does not belong together."""

from __future__ import annotations

import pickle

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence


def some(count: int = 3) -> Evidence:
    numbers = torch.arange(count * 4.0)
    return Evidence(
        classes={"margin": numbers.reshape(count, 4), "course": numbers.reshape(count, 4, 1)},
        sites={"conv": {"mean": numbers.reshape(count, 4)}},
        parameters={"conv.weight": {"gradient": numbers.reshape(count, 2, 2)}},
    )


def test_parts_together_are_the_whole() -> None:
    whole = some()
    assert len(whole) == 3
    together = Evidence.concatenate([whole[:1], whole[[1]], whole[torch.tensor([2])]])
    again = pickle.loads(pickle.dumps(together.to(dtype=torch.float64)))
    assert [name for name, _ in again.named()] == [
        ("classes", "margin"),
        ("classes", "course"),
        ("sites", "conv", "mean"),
        ("parameters", "conv.weight", "gradient"),
    ]
    for (_, ours), (_, theirs) in zip(again.named(), whole.named(), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours.float(), theirs)
    with pytest.raises(TypeError):
        whole.classes["margin"] = torch.zeros(3, 4)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ZoovetError, match=r"of one number of networks throughout, got \[2, 3\]"):
        Evidence(classes={"a": torch.zeros(2, 4), "b": torch.zeros(3, 4)})
    with pytest.raises(ZoovetError, match=r"must have the shapes \[networks, classes, …\], got .*'b': \[2, 5\]"):
        Evidence(classes={"a": torch.zeros(2, 4), "b": torch.zeros(2, 5)})
    with pytest.raises(ZoovetError, match=r"must have the shapes .* got .*'a': \[2\]"):
        Evidence(classes={"a": torch.zeros(2)})
    for parts in ([], [some(), Evidence(classes={"other": torch.zeros(2, 4)})]):
        with pytest.raises(ZoovetError, match="of the same names can be put together, and at least one is needed"):
            Evidence.concatenate(parts)

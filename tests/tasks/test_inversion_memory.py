"""Inversions are computed once a network, whoever asks, and survive on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.evidence import Evidence, Inversion, InversionConfig
from zoovet.networks import Networks, small_cnn
from zoovet.tasks.inversion_memory import InversionMemory


def networks(activation: str, count: int) -> Networks:
    graph = small_cnn(activation, input_shape=(1, 8, 8), channels=(4,), num_classes=3)
    flat = torch.randn(8, graph.num_parameters, generator=torch.Generator().manual_seed(0))
    return Networks.from_flat(graph, flat[:count])


def seeking(seed: int = 0) -> Inversion:
    return Inversion(InversionConfig(patch_size=3, num_backgrounds=1, num_steps=1, seed=seed), (1, 8, 8), 3)


def numbers(evidence: Evidence) -> torch.Tensor:
    """All numbers of each network, [B, n]."""
    return torch.cat([tensor.flatten(1) for _, tensor in evidence.named()], dim=1)


def test_each_network_is_inverted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, inversion, asked = InversionMemory(), seeking(), list[int]()
    invert = inversion.forward
    monkeypatch.setattr(inversion, "forward", lambda batch: asked.append(len(batch)) or invert(batch))
    batches = [networks("relu", 5), networks("tanh", 4)]
    first = memory.invert(inversion, batches)
    for found, batch in zip(first, batches, strict=True):
        torch.testing.assert_close(numbers(found), numbers(invert(batch)), atol=1e-5, rtol=1e-5)
    again = memory.invert(inversion, [batches[1][[3, 0]], networks("relu", 6)])
    torch.testing.assert_close(numbers(again[0]), numbers(first[1][[3, 0]]))
    torch.testing.assert_close(numbers(again[1])[:5], numbers(first[0]))
    assert asked == [5, 4, 1]
    assert len(memory) == 10


def test_progress_counts_every_network_once_also_those_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoovet.tasks.inversion_memory._CHUNK", 2)
    memory, inversion, told = InversionMemory(), seeking(), list[int]()
    memory.invert(inversion, [networks("relu", 1)], finished=told.append)
    assert told == [1]
    memory.invert(inversion, [networks("relu", 6), networks("tanh", 2)], finished=told.append)
    assert told == [1, 1, 2, 2, 1, 2]


def test_it_runs_on_one_thread_and_leaves_the_others_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, inversion, threads = InversionMemory(), seeking(), [3]

    def invert(batch: Networks) -> Evidence:
        assert threads == [1]
        raise RuntimeError("it may fail")

    monkeypatch.setattr(inversion, "forward", invert)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: threads.__setitem__(0, number))
    with pytest.raises(RuntimeError, match="it may fail"):
        memory.invert(inversion, [networks("relu", 1)])
    assert threads == [3]


def test_another_inversion_is_another_entry() -> None:
    memory, batch = InversionMemory(), networks("relu", 2)
    inversions = [seeking(seed) for seed in (0, 1)]
    one, other = (memory.invert(inversion, [batch])[0] for inversion in inversions)
    assert len(memory) == 4
    assert (numbers(one) - numbers(other)).abs().max() > 1e-3


def test_it_survives_on_disk(tmp_path: Path) -> None:
    memory, inversion, batch = InversionMemory(), seeking(), networks("tanh", 3)
    (found,) = memory.invert(inversion, [batch])
    memory.save(tmp_path / "found" / "inversions.safetensors")
    loaded = InversionMemory.load(tmp_path / "found")
    assert len(loaded) == 3
    (read,) = loaded.invert(inversion, [batch])
    assert dict(read.named()).keys() == dict(found.named()).keys()
    torch.testing.assert_close(numbers(read), numbers(found), atol=0, rtol=0)
    assert len(InversionMemory.load(tmp_path / "missing")) == 0
    (tmp_path / "found" / "inversions.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ZoovetError, match=r"inversions\.safetensors is damaged"):
        InversionMemory.load(tmp_path / "found")

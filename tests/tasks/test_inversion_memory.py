"""Inversions are computed once a network, whoever asks, and survive on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets import InversionConfig, ScaleGMN, ScaleGMNConfig, inversion_of
from zoovet.networks import Networks, small_cnn
from zoovet.tasks.inversion_memory import InversionMemory


def networks(activation: str, count: int) -> Networks:
    spec = small_cnn(activation, input_shape=(1, 8, 8), channels=(4,), num_classes=3)
    flat = torch.randn(8, spec.num_parameters, generator=torch.Generator().manual_seed(0))
    return Networks.from_flat(spec, flat[:count])


def metanetwork(seed: int = 0) -> ScaleGMN:
    config = ScaleGMNConfig(
        width=4,
        num_layers=1,
        max_depth=2,
        max_outputs=3,
        input_shape=(1, 8, 8),
        inversion=InversionConfig(patch_size=3, num_backgrounds=1, num_steps=1, seed=seed),
    )
    return ScaleGMN(config, torch.Generator().manual_seed(0))


def test_each_network_is_inverted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, inversion, asked = InversionMemory(), inversion_of(metanetwork()), list[int]()
    assert inversion is not None
    invert = inversion.forward
    monkeypatch.setattr(inversion, "forward", lambda batch: asked.append(len(batch)) or invert(batch))
    batches = [networks("relu", 5), networks("tanh", 4)]
    first = memory.invert(inversion, batches)
    torch.testing.assert_close(first, [invert(batch) for batch in batches], atol=1e-5, rtol=1e-5)
    again = memory.invert(inversion, [batches[1][[3, 0]], networks("relu", 6)])
    torch.testing.assert_close(again[0], first[1][[3, 0]])
    torch.testing.assert_close(again[1][:5], first[0])
    assert asked == [5, 4, 1]
    assert len(memory) == 10


def test_progress_counts_every_network_once_also_those_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoovet.tasks.inversion_memory._CHUNK", 2)
    memory, inversion, told = InversionMemory(), inversion_of(metanetwork()), list[int]()
    assert inversion is not None
    memory.invert(inversion, [networks("relu", 1)], finished=told.append)
    assert told == [1]
    memory.invert(inversion, [networks("relu", 6), networks("tanh", 2)], finished=told.append)
    assert told == [1, 1, 2, 2, 1, 2]


def test_it_runs_on_one_thread_and_leaves_the_others_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, inversion, threads = InversionMemory(), inversion_of(metanetwork()), [3]

    def invert(batch: Networks) -> torch.Tensor:
        assert threads == [1]
        raise RuntimeError("it may fail")

    assert inversion is not None
    monkeypatch.setattr(inversion, "forward", invert)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: threads.__setitem__(0, number))
    with pytest.raises(RuntimeError, match="it may fail"):
        memory.invert(inversion, [networks("relu", 1)])
    assert threads == [3]


def test_another_inversion_is_another_entry() -> None:
    memory, batch = InversionMemory(), networks("relu", 2)
    inversions = [inversion_of(metanetwork(seed)) for seed in (0, 1)]
    one, other = (memory.invert(inversion, [batch])[0] for inversion in inversions if inversion is not None)
    assert len(memory) == 4
    assert (one - other).abs().max() > 1e-3


def test_it_survives_on_disk(tmp_path: Path) -> None:
    memory, inversion, batch = InversionMemory(), inversion_of(metanetwork()), networks("tanh", 3)
    assert inversion is not None
    found = memory.invert(inversion, [batch])
    memory.save(tmp_path / "found" / "inversions.safetensors")
    loaded = InversionMemory.load(tmp_path / "found")
    assert len(loaded) == 3
    torch.testing.assert_close(loaded.invert(inversion, [batch]), found, atol=0, rtol=0)
    assert len(InversionMemory.load(tmp_path / "missing")) == 0
    (tmp_path / "found" / "inversions.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ZoovetError, match=r"inversions\.safetensors is damaged"):
        InversionMemory.load(tmp_path / "found")

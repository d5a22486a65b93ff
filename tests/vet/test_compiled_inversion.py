"""Scores by compiled inversion are those by PyTorch; without a compiler the scan goes on and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoovet.evidence import InversionConfig
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Graph, Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.tasks import Detector
from zoovet.tasks.evidence_reader import inversion_of
from zoovet.tasks.metanetworks import build_metanetwork
from zoovet.vet import Scanner, candidates_for, compiled_inversion
from zoovet.vet.compiled_inversion import compile_inversion
from zoovet.zoo.native import NativeUnavailable

GRAPH = small_cnn("relu", input_shape=(1, 14, 14))


def seeking_detector() -> Detector:
    """One that nobody trained, and that seeks triggers in every way."""
    inversion = InversionConfig(
        patch_size=4, reaches=(0.5,), images_per_class=5, next_class=True, num_warps=2, num_stripes=2, num_steps=2
    )
    config = ScaleGMNConfig(width=4, num_layers=1, inversion=inversion, out_scale=1.0).with_input_shape((GRAPH,))
    detector = Detector(build_metanetwork(config, 0, "detector"), [GRAPH], 0.5)
    own = inversion_of(detector.metanetwork)
    assert own is not None
    own.give_images(2 * torch.rand(10, 5, 1, 14, 14, generator=torch.Generator().manual_seed(0)) - 1)
    return detector


def test_scores_are_pytorchs(drawn: Callable[..., Networks]) -> None:
    networks, detector = drawn(GRAPH, 6), seeking_detector()
    expected = detector.score(networks)
    assert float(expected.std()) > 1e-3, "scores that are all the same prove nothing"
    assert compile_inversion(detector) is None
    found = detector.score(networks)
    assert not torch.equal(found, expected), "compiled code rounds otherwise"
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    for index in range(len(networks)):
        torch.testing.assert_close(detector.score(networks[index]), expected[index : index + 1], atol=1e-4, rtol=0)


def test_without_a_compiler_the_scan_goes_on_and_says_so(
    tmp_path: Path,
    relu_graph: Graph,
    write_detector: Callable[..., Path],
    drawn: Callable[..., Networks],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(_: object) -> None:
        raise NativeUnavailable("no C compiler was found")

    monkeypatch.setattr(compiled_inversion, "CompiledForward", none)
    detector = seeking_detector()
    note = compile_inversion(detector)
    assert note == "triggers are sought through PyTorch, more slowly than by compiled code: no C compiler was found"
    assert len(detector.score(drawn(GRAPH, 2))) == 2
    save_networks(drawn(relu_graph), tmp_path / "network.safetensors")
    path = write_detector(tmp_path / "detector.safetensors", [relu_graph])
    (quiet,) = Scanner(candidates_for("detector", given=path)).scan_files([tmp_path / "network.safetensors"])
    assert quiet.general_notes == ()
    monkeypatch.setattr("zoovet.vet.batches.compile_inversion", lambda _: note)
    (told,) = Scanner(candidates_for("detector", given=path)).scan_files([tmp_path / "network.safetensors"])
    assert told.general_notes == (note,)
    assert told.verdicts == quiet.verdicts

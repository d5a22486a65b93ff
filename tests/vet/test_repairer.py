"""Edits that nobody should write are refused, whatever options are given."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import zoovet
from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Graph, Networks, to_module
from zoovet.readers import save_networks
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.edit_sizes import EditSize, edit_sizes_to_json, scale_free_changes
from zoovet.tasks.metanetworks import metanetwork_to_json
from zoovet.tasks.repairer import TrainedRepairer, build_editor
from zoovet.vet import Repairer
from zoovet.vet.known_graphs import as_known


def write_repairer(path: Path, graph: Graph, limit: float | None) -> Path:
    """A repairer that nobody trained, whose edits are not nothing."""
    config = ScaleGMNConfig(width=2, num_layers=1, output="weights", direction="bidirectional")
    editor = build_editor(config, None, None, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in editor.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    sizes = {} if limit is None else {graph: EditSize(limit, 99)}
    description = {
        "metanetwork": metanetwork_to_json(config),
        "gate": None,
        "refit": None,
        "specs": [graph.to_json()],
        "strength": 1.0,
        **({} if limit is None else edit_sizes_to_json(sizes, [graph])),
    }
    save_checkpoint(path, "repairer", editor, description)
    return path


@pytest.mark.parametrize("allow_unknown", [True, False])
def test_an_edit_beyond_the_training_networks_quantile_is_refused(
    tmp_path: Path, relu_graph: Graph, drawn: Callable[..., Networks], allow_unknown: bool
) -> None:
    networks = drawn(relu_graph, 3)
    save_networks(networks, tmp_path / "a.safetensors")
    path = write_repairer(tmp_path / "repairer.safetensors", relu_graph, None)
    changes = scale_free_changes(networks, TrainedRepairer.load(path).repair(networks))
    assert float(changes.min()) > 1e-3
    options = {"allow_unknown": allow_unknown}
    (unknown,) = Repairer(path, **options).repair_file(tmp_path / "a.safetensors").notes
    assert unknown.endswith("cannot tell whether an edit is too large")
    write_repairer(path, relu_graph, float(changes.max()) * 1.01)
    found = Repairer(path, **options).repair_file(tmp_path / "a.safetensors")
    assert found.change == pytest.approx(float(changes.mean()))
    assert found.notes == ()
    write_repairer(path, relu_graph, float(changes.max()) * 0.99)
    message = r"a\.safetensors: network \d would change by [\d.]+ % of its weights' norm \(1 of 3 edits are too large\)"
    with pytest.raises(ZoovetError, match=rf"{message}, and 99\.9 % of its training networks by at most [\d.]+ %"):
        Repairer(path, **options).repair_file(tmp_path / "a.safetensors")


@pytest.mark.parametrize("scaling", ["unit", None])
def test_a_network_in_memory_is_healed_as_its_file_is(
    tmp_path: Path, relu_graph: Graph, drawn: Callable[..., Networks], scaling: str | None
) -> None:
    networks = drawn(relu_graph)
    path = write_repairer(tmp_path / "repairer.safetensors", relu_graph, 1e9)
    network = zoovet.from_module(to_module(networks), relu_graph.input_shape, scaling)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if scaling else "ignore")
        healed = Repairer(path).repair(network)
    expected = TrainedRepairer.load(path).repair(networks.with_scaling(scaling))
    found = as_known(healed, [relu_graph])
    assert found is not None
    assert torch.equal(found.networks.flat(), expected.flat())
    assert healed.graph == network.graph
    assert healed.scaling == network.scaling
    assert healed.change == pytest.approx(float(scale_free_changes(networks, expected)))
    assert healed.notes[-2].startswith("repaired: the weights changed by ")
    assert not torch.equal(network.networks.flat(), healed.networks.flat())
    if scaling:
        images = zoovet.Images.from_arrays(torch.arange(5 * 64).reshape(5, 8, 8).to(torch.uint8))
        assert healed.predict(images).shape == (5,)


def test_in_python_too_edits_that_nobody_should_use_are_refused(
    tmp_path: Path, relu_graph: Graph, drawn: Callable[..., Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = zoovet.from_module(to_module(drawn(relu_graph)), relu_graph.input_shape, "unit")
    path = write_repairer(tmp_path / "repairer.safetensors", relu_graph, 1e-9)
    with pytest.raises(ZoovetError, match=r"the network given would change by [\d.]+ % of its weights' norm"):
        Repairer(path, allow_unknown=True).repair(network)
    write_repairer(path, relu_graph, 1e9)

    def edit(*rest: Any) -> list[Networks]:
        return [Networks.from_flat(relu_graph, torch.full((1, relu_graph.num_parameters), torch.inf))]

    monkeypatch.setattr("zoovet.tasks.repairer.edited_networks", edit)
    with pytest.raises(ZoovetError, match="what the repairer says of network 0 is not finite"):
        Repairer(path).repair(network)
    save_networks(drawn(relu_graph), tmp_path / "a.safetensors")
    with pytest.raises(ZoovetError, match=r"a\.safetensors: what the repairer says of network 0 is not finite"):
        Repairer(path).repair_file(tmp_path / "a.safetensors")


def test_a_network_that_no_repairer_knows_is_refused_in_one_line(
    tmp_path: Path, relu_graph: Graph, drawn: Callable[..., Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_repairer(tmp_path / "repairer.safetensors", relu_graph, None)
    stranger = zoovet.from_module(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8), "unit")
    with pytest.raises(ZoovetError, match=r"^Sequential, 195 parameters, .*: the repairer given does not know it$"):
        Repairer(path).repair(stranger)
    network = zoovet.from_module(to_module(drawn(relu_graph)), relu_graph.input_shape, "unit")
    with pytest.raises(ZoovetError, match=r"reads images of 1×8×8 \(.*these are 1×9×9"):
        Repairer(path).repair(network, zoovet.Images.from_arrays(torch.zeros(2, 9, 9, dtype=torch.uint8)))

    class Distribution:
        """Finds everything unlike its training networks."""

        def score(self, networks: list[Networks]) -> torch.Tensor:
            return torch.zeros(1)

        def is_out(self, networks: list[Networks]) -> torch.Tensor:
            return torch.ones(1, dtype=torch.bool)

    monkeypatch.setattr("zoovet.tasks.repairer.distribution_of", lambda _: Distribution())
    with pytest.raises(ZoovetError, match=r"the network given is unlike .*, or allow_unknown=True to edit it all the"):
        Repairer(path).repair(network)
    assert Repairer(path, allow_unknown=True).repair(network).change > 0

"""Edits that nobody should write are refused, whatever options are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.metanets.scalegmn import ScaleGMNConfig
from zoovet.networks import Graph, Networks
from zoovet.readers import save_networks
from zoovet.tasks.checkpoints import save_checkpoint
from zoovet.tasks.edit_sizes import EditSize, edit_sizes_to_json, scale_free_changes
from zoovet.tasks.metanetworks import metanetwork_to_json
from zoovet.tasks.repairer import Repairer, build_editor
from zoovet.vet import candidates_for, repair_file


def write_repairer(path: Path, spec: Graph, limit: float | None) -> Path:
    """A repairer that nobody trained, whose edits are not nothing."""
    config = ScaleGMNConfig(width=2, num_layers=1, output="weights", direction="bidirectional")
    editor = build_editor(config, None, None, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in editor.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    sizes = {} if limit is None else {spec: EditSize(limit, 99)}
    description = {
        "metanetwork": metanetwork_to_json(config),
        "gate": None,
        "refit": None,
        "specs": [spec.to_json()],
        "strength": 1.0,
        **({} if limit is None else edit_sizes_to_json(sizes, [spec])),
    }
    save_checkpoint(path, "repairer", editor, description)
    return path


@pytest.mark.parametrize("allow_unknown", [True, False])
def test_an_edit_beyond_the_training_networks_quantile_is_refused(
    tmp_path: Path, relu_spec: Graph, drawn: Callable[..., Networks], allow_unknown: bool
) -> None:
    networks = drawn(relu_spec, 3)
    save_networks(networks, tmp_path / "a.safetensors")
    path = write_repairer(tmp_path / "repairer.safetensors", relu_spec, None)
    changes = scale_free_changes(networks, Repairer.load(path).repair(networks))
    assert float(changes.min()) > 1e-3
    options = {"allow_unknown": allow_unknown}
    (unknown,) = repair_file(tmp_path / "a.safetensors", candidates_for("repairer", given=path), **options).notes
    assert unknown.endswith("cannot tell whether an edit is too large")
    write_repairer(path, relu_spec, float(changes.max()) * 1.01)
    found = repair_file(tmp_path / "a.safetensors", candidates_for("repairer", given=path), **options)
    assert found.change == pytest.approx(float(changes.mean()))
    assert found.notes == ()
    write_repairer(path, relu_spec, float(changes.max()) * 0.99)
    message = r"a\.safetensors: network \d would change by [\d.]+ % of its weights' norm \(1 of 3 edits are too large\)"
    with pytest.raises(ZoovetError, match=rf"{message}, and 99\.9 % of its training networks by at most [\d.]+ %"):
        repair_file(tmp_path / "a.safetensors", candidates_for("repairer", given=path), **options)

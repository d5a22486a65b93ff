"""Files of every kind take a network's new numbers, names and layout untouched."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoovet.healing import learned_names
from zoovet.networks import Networks
from zoovet.readers import read_content
from zoovet.readers.renumbering import placed_names, renumbered_graph_file, renumbered_state_dict
from zoovet.readers.rewriting import LayoutError, rewrite

ARCHIVE = Path(__file__).parents[1] / "data" / "keras_files.npz"


def shifted(own: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    return {name: tensor + 0.25 if name in names else tensor for name, tensor in own.items()}


def read_networks(path: Path) -> Networks:
    graph = read_content(path).graph
    assert graph is not None
    return graph.read(None, None).networks


def rewritten(path: Path, out: Path) -> tuple[Networks, dict[str, Tensor]]:
    """The network of a graph file after all learned numbers of it grew by a quarter, and what was wanted."""
    graph, networks = read_content(path).graph, read_networks(path)
    assert graph is not None
    before = {name: tensor[0] for name, tensor in networks.parameters.items()}
    content = read_content(path)
    placed = set(placed_names(content, before))
    after = shifted(before, [name for name in learned_names(networks.graph) if name in placed])
    rewrite(path, renumbered_graph_file(graph.data, before, after, path.name), out, lambda _: None)
    return read_networks(out), after


def with_norm() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 4)
    )
    for tensor in module.parameters():
        nn.init.normal_(tensor, std=0.5)
    return module.eval()


def test_an_onnx_file_keeps_its_batch_norms(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(with_norm(), (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    found, wanted = rewritten(path, tmp_path / "out.onnx")
    assert any(one.op == "batch_norm" for one in found.graph.operations)
    for name, tensor in wanted.items():
        assert torch.equal(found.parameters[name][0], tensor), name
    assert len((tmp_path / "out.onnx").read_bytes()) == len(path.read_bytes())


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("name", ["functional", "sequential"])
def test_a_keras_file_takes_numbers_whose_axes_were_turned(tmp_path: Path, name: str, ending: str) -> None:
    pytest.importorskip("h5py")
    with np.load(ARCHIVE) as archive:
        (tmp_path / f"a.{ending}").write_bytes(archive[f"{name}_{ending}"].tobytes())
    old = read_networks(tmp_path / f"a.{ending}")
    found, wanted = rewritten(tmp_path / f"a.{ending}", tmp_path / f"out.{ending}")
    num_changed = 0
    for key, tensor in wanted.items():
        assert torch.equal(found.parameters[key][0], tensor), key
        num_changed += not torch.equal(tensor, old.parameters[key][0])
    assert num_changed >= 4
    if ending == "keras":
        with zipfile.ZipFile(tmp_path / "out.keras") as file:
            assert file.testzip() is None


def test_a_state_dict_takes_them_wherever_they_stand(tmp_path: Path) -> None:
    module, path = with_norm(), tmp_path / "a.pt"
    state = module.state_dict()
    torch.save({"epoch": 3, "net": {f"module.{name}": one for name, one in state.items()}, "ema": dict(state)}, path)
    content = read_content(path)
    before = {name: one.detach() for name, one in module.named_parameters()}
    changed = renumbered_state_dict(content, before, shifted(before, list(before)), "a.pt")
    rewrite(path, changed, tmp_path / "out.pt", lambda _: None)
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert found["epoch"] == 3
    for name, tensor in state.items():
        grew = 0.25 if name in before else 0
        assert torch.equal(found["net"][f"module.{name}"], tensor + grew)
        assert torch.equal(found["ema"][name], tensor + grew)


def test_numbers_without_a_place_of_their_own_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"fc.weight": torch.ones(2, 3)}, path)
    before, after = {"fc.weight": torch.zeros(2, 3)}, {"fc.weight": torch.ones(2, 3)}
    with pytest.raises(LayoutError, match=r"a\.pt: 'fc\.weight' does not stand in it as it is computed with"):
        renumbered_state_dict(read_content(path), before, after, "a.pt")
    onnx = pytest.importorskip("onnx")
    module = with_norm()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own of its older exporter
        torch.onnx.export(module, (torch.zeros(1, 1, 8, 8),), tmp_path / "a.onnx", dynamo=False)
    onnx.save(onnx.load(tmp_path / "a.onnx"), tmp_path / "b.onnx", save_as_external_data=True, size_threshold=0)
    for name in ("a.onnx", "b.onnx"):
        graph = read_content(tmp_path / name).graph
        assert graph is not None
        with pytest.raises(LayoutError, match=r"the numbers of 'fc\.weight' do not stand in it one by one, or twice"):
            renumbered_graph_file(graph.data, before, after, name)

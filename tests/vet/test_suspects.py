"""Which detector or repairer a file's networks go to, and what is said where that stays open."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from zoovet.architectures import OpenArchitecture
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.models import print_models
from zoovet.errors import ZoovetError
from zoovet.networks import Graph, Networks, small_cnn
from zoovet.readers import save_networks
from zoovet.vet import Candidate, ReadOptions, failure_of, load_suspects

WriteDetector = Callable[[Path, Sequence[Graph]], Path]
SMALL, LARGE = (
    {name: small_cnn(name, input_shape=(1, side, side), channels=(4, 4)) for name in ("relu", "tanh")}
    for side in (28, 32)
)
OTHER = small_cnn("relu", input_shape=(1, 28, 28), channels=(5, 5))


@pytest.fixture
def models(tmp_path: Path, write_detector: WriteDetector) -> Path:
    """Two models whose networks have weights of the same shapes, and read images of different ones."""
    write_detector(tmp_path / "models" / "small" / "detector.safetensors", list(SMALL.values()))
    write_detector(tmp_path / "models" / "large" / "detector.safetensors", list(LARGE.values()))
    return tmp_path / "models"


def candidates(*words: str | Path) -> list[Candidate]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_candidates(parser, "detector")
    return candidates_of(parser.parse_args([str(word) for word in words]), "detector")


def network(graph: Graph) -> Networks:
    return Networks.from_flat(graph, torch.randn(1, graph.num_parameters, generator=torch.Generator().manual_seed(0)))


def with_graph(graph: Graph, folder: Path) -> Path:
    save_networks(network(graph), folder / "network.safetensors")
    return folder / "network.safetensors"


def state_dict(graph: Graph, folder: Path) -> Path:
    networks, state = network(graph), {}
    for index, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
        state |= {f"{index}.weight": weight[0], f"{index}.bias": bias[0]}
    torch.save(state, folder / "network.pt")
    return folder / "network.pt"


def test_the_spec_in_a_file_says_which_model_knows_it(models: Path, tmp_path: Path) -> None:
    found = candidates("--models-from", models)
    assert [candidate.model for candidate in found] == ["large", "small"]
    for name, graphs in (("small", SMALL), ("large", LARGE)):
        for graph in graphs.values():
            suspects = load_suspects(with_graph(graph, tmp_path), found, ReadOptions(), "detector")
            assert suspects.parts[0].graph == graph
            assert suspects.candidate.model == name
            assert suspects.candidate.path == models / name / "detector.safetensors"


def test_a_state_dict_that_fits_several_is_settled_by_options(models: Path, tmp_path: Path) -> None:
    path = state_dict(LARGE["tanh"], tmp_path)
    both = candidates("--models-from", models)
    how = "give --activation relu or tanh and --model large or small"
    with pytest.raises(ZoovetError, match=f"says nothing of what its networks are, .* fit several: {how}"):
        load_suspects(path, both, ReadOptions(), "detector")
    with pytest.raises(ZoovetError, match=r"fit several: give --model large or small$"):
        load_suspects(path, both, ReadOptions(activation="tanh"), "detector")
    large = candidates("--models-from", models, "--model", "large")
    with pytest.raises(
        ZoovetError, match=r"says nothing of its activation, .* fit several: give --activation relu or tanh$"
    ):
        load_suspects(path, large, ReadOptions(), "detector")
    suspects = load_suspects(path, large, ReadOptions(activation="tanh"), "detector")
    assert suspects.parts[0].graph == LARGE["tanh"]
    assert suspects.candidate.model == "large"
    with pytest.raises(ZoovetError, match=r"--activation sine: trained on networks with relu or tanh only"):
        load_suspects(path, large, ReadOptions(activation="sine"), "detector")


def test_two_models_of_one_spec_are_told_apart_by_name(
    models: Path, tmp_path: Path, write_detector: WriteDetector
) -> None:
    write_detector(models / "twin" / "detector.safetensors", [SMALL["relu"]])
    found = candidates("--models-from", models)
    with pytest.raises(
        ZoovetError, match=r"several models know such networks, 1×28×28 → .*: give --model small or twin"
    ):
        load_suspects(with_graph(SMALL["relu"], tmp_path), found, ReadOptions(), "detector")


def test_networks_that_no_model_knows_are_told_in_one_short_line(models: Path, tmp_path: Path) -> None:
    found = candidates("--models-from", models)
    message = r"network\.safetensors holds a network that no shipped detector knows: 1×28×28 → conv 5 3×3 /2 relu → .*"
    with pytest.raises(ZoovetError, match=message):
        load_suspects(with_graph(OTHER, tmp_path), found, ReadOptions(), "detector")
    message = r"network\.pt holds 2 convolutions, 1 linear layer, 340 numbers: no shipped repairer knows such a net"
    with pytest.raises(ZoovetError, match=message):
        load_suspects(state_dict(OTHER, tmp_path), found, ReadOptions(), "repairer")
    torch.save({f"{index}.weight": torch.ones(4, 4) for index in range(99)}, tmp_path / "deep.pt")
    with pytest.raises(ZoovetError, match=r"deep\.pt holds 99 linear layers, 1\.6 k numbers: no shipped detector"):
        load_suspects(tmp_path / "deep.pt", found, ReadOptions(), "detector")


def test_what_names_and_shapes_leave_open_is_told_with_its_choices(models: Path, tmp_path: Path) -> None:
    found = candidates("--models-from", models)
    torch.save({"a.weight": torch.ones(5, 9), "b.weight": torch.ones(3, 5)}, tmp_path / "mlp.pt")
    with pytest.raises(OpenArchitecture, match=r"knows such a network; it is an MLP .* tells: give") as told:
        load_suspects(tmp_path / "mlp.pt", found, ReadOptions(), "detector")
    assert told.value.choices[:2] == ("mlp:activation=relu", "mlp:activation=leaky_relu")
    assert failure_of(told.value).choices == told.value.choices
    assert failure_of(ZoovetError("no")).choices == ()


def test_what_is_wrong_with_a_file_that_fits_comes_before_specs_that_do_not(models: Path, tmp_path: Path) -> None:
    found = candidates("--models-from", models)
    graph = small_cnn("relu", input_shape=(1, 28, 28), channels=(4, 4))
    state = torch.load(state_dict(graph, tmp_path), weights_only=True)
    torch.save({**state, "0.bias": torch.full((4,), torch.inf)}, tmp_path / "network.pt")
    with pytest.raises(ZoovetError, match=r"tensor '0\.bias' has NaN or infinite numbers"):
        load_suspects(tmp_path / "network.pt", found, ReadOptions(), "detector")
    torch.save({**state, "norm.weight": torch.ones(4), "norm.bias": torch.ones(4)}, tmp_path / "network.pt")
    with pytest.raises(ZoovetError, match=r"tensor 'norm\.weight' \(4\) is no weight or bias of a convolution"):
        load_suspects(tmp_path / "network.pt", found, ReadOptions(), "detector")


def test_an_order_that_is_open_is_asked_for(tmp_path: Path, write_detector: WriteDetector) -> None:
    graph = small_cnn("relu", input_shape=(1, 28, 28), channels=(4, 4, 4))
    write_detector(tmp_path / "own.safetensors", [graph])
    (own,) = candidates("--detector", tmp_path / "own.safetensors")
    names = ("stem", "mid", "deep", "head")
    state = torch.load(state_dict(graph, tmp_path), weights_only=True)
    named = {f"{names[int(name[0])]}.{name[2:]}": tensor for name, tensor in state.items()}
    torch.save(named, tmp_path / "network.pt")
    with pytest.raises(ZoovetError, match=r"in which order mid 4×4×3×3, deep 4×4×3×3 run is open.*say it: --order"):
        load_suspects(tmp_path / "network.pt", [own], ReadOptions(), "detector")
    suspects = load_suspects(tmp_path / "network.pt", [own], ReadOptions(order=names), "detector")
    assert torch.equal(suspects.parts[0].flat(), network(graph).flat())
    suspects = load_suspects(with_graph(graph, tmp_path), [own], ReadOptions(order=names), "detector")
    assert suspects.notes == ("its file says in which order its layers run; the order given was not used",)


def test_a_detector_that_was_given_is_the_only_candidate(
    models: Path, tmp_path: Path, write_detector: WriteDetector
) -> None:
    write_detector(tmp_path / "own.safetensors", [SMALL["relu"]])
    (own,) = candidates("--detector", tmp_path / "own.safetensors")
    assert (own.model, own.graphs) == (None, (SMALL["relu"],))
    suspects = load_suspects(with_graph(OTHER, tmp_path), [own], ReadOptions(), "detector")
    assert (suspects.parts[0].graph, suspects.candidate) == (OTHER, own)  # it says itself what it does not know
    suspects = load_suspects(state_dict(SMALL["tanh"], tmp_path), [own], ReadOptions(), "detector")
    assert suspects.parts[0].graph == SMALL["relu"]
    with pytest.raises(argparse.ArgumentError, match=r"not allowed with argument"):
        candidates("--detector", tmp_path / "own.safetensors", "--model", "small")


def test_what_is_not_there_is_said(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match=r"there is no model 'smal' in .*; did you mean 'small'"):
        candidates("--models-from", models, "--model", "smal")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZoovetError, match=r"no detector comes with this zoovet .*give one of your own, --detector RUN"):
        candidates("--models-from", tmp_path / "empty")
    with pytest.raises(ZoovetError, match=r"there is no folder of models"):
        candidates("--models-from", tmp_path / "nowhere")


def test_the_models_are_listed(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_models(models)
    shown = capsys.readouterr().out
    assert f"small\n  detector 0.0 MB\n           {SMALL['relu'].describe()}\n" in shown
    assert f"  card     {models / 'small' / 'card.md'}\n" in shown
    (models.parent / "empty").mkdir()
    print_models(models.parent / "empty")
    assert "no models in " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("resnet2o", r"the architecture 'resnet2o' is unknown; did you mean 'resnet'"),
        ("vgg:activtion=elu", r"vgg has no option 'activtion'; did you mean 'activation'"),
    ],
)
def test_a_misspelt_architecture_is_refused_before_any_file_is_read(architecture: str, message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        ReadOptions(architecture=architecture)

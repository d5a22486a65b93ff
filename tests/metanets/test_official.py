from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.metanets.official import from_official
from zoovet.metanets.official.__main__ import main
from zoovet.metanets.official.cases import Case, deviation, read_case
from zoovet.networks.batch import Networks
from zoovet.networks.chains import mlp, small_cnn

FOLDER = Path(__file__).parent / "parity"
NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def case_of(name: str) -> Case:
    return read_case(FOLDER / f"{name}.safetensors")


def test_there_are_forty_cases() -> None:
    assert len(NAMES) == 40


@pytest.mark.parametrize("name", NAMES)
def test_the_released_output_is_reproduced(name: str) -> None:
    assert deviation(case_of(name)) <= 1e-11


def test_mixed_networks_may_come_as_a_list_of_several_specs() -> None:
    case = case_of("cnn_mixed_bidirectional")  # relu, tanh, tanh, relu
    model = from_official(case.arguments, case.state, small_cnn("relu"))
    networks = [
        Networks.from_layers(small_cnn(activation), *_tensors(case.networks[index]))
        for index, activation in enumerate(case.activations)
    ]
    output = model(networks)
    assert isinstance(output, Tensor)
    torch.testing.assert_close(output, case.expected["output"], rtol=1e-11, atol=1e-13)


def test_weight_output_of_a_list_is_a_list_of_pairs() -> None:
    case = case_of("cnn_mixed_edit_bidirectional")
    model = from_official(case.arguments, case.state, small_cnn("relu"))
    whole = model(case.networks, case.activations)
    parts = model([case.networks[:1], case.networks[1:]], case.activations)
    assert isinstance(whole, tuple)
    assert isinstance(parts, list)
    for index in range(4):
        joined = torch.cat([part[0][index] for part in parts])
        assert joined.shape == whole[0][index].shape
        torch.testing.assert_close(joined, whole[0][index], rtol=1e-12, atol=1e-14)


def test_the_model_computes_in_float64_and_without_dropout_from_float32_parameters() -> None:
    case = case_of("inr_fmnist_forward")  # dropout everywhere
    assert all(tensor.dtype == torch.float32 for tensor in case.state.values())
    model = from_official(case.arguments, case.state, case.networks.graph)
    output = model(case.networks.to(dtype=torch.float32))
    assert isinstance(output, Tensor)
    assert output.dtype == torch.float64
    assert torch.equal(output, model(case.networks))


def _tensors(networks: Networks) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return networks.weights, networks.biases


def _changed(arguments: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(arguments)
    *sections, last = name.split(".")
    inside = changed
    for section in sections:
        inside = inside[section]
    inside[last] = value
    return changed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("symmetry", "rotation", "'symmetry' must be 'scale' or 'sign' or 'hetero' or 'permutation'.*got 'rotation'"),
        ("gnn_args.aggregator", "mean", r"'gnn_args.aggregator' must be 'add' in released models, got 'mean'"),
        ("gnn_args.msg_num_mlps", 1, "'gnn_args.msg_num_mlps' must be 2 or 3 in released models, got 1"),
        ("mlp_args.d_k", [12, 12], r"'mlp_args.d_k' must be a list of one integer.*got \[12, 12\]"),
        ("graph_init.d_node", 9, "'graph_init.d_node' must be 8 .as d_hid., got 9"),
        ("readout_args.d_rho", 9, "'readout_args.d_rho' must be 8 .with full_graph, d_hid., got 9"),
        ("d_hid", True, "'d_hid' must be an integer of at least 1"),
        ("layer_layout", [1, 16, 16, 10], r"'layer_layout' must be \[1, 16, 16, 16, 10\].*got \[1, 16, 16, 10\]"),
        ("gnn_args.sign_symmetrisation", True, "unknown key 'gnn_args.sign_symmetrisation'; did you mean"),
        ("mlp_args", 3, "'mlp_args' must be a mapping, got 3"),
    ],
)
def test_a_switch_outside_the_released_space_is_refused(name: str, value: Any, message: str) -> None:
    case = case_of("cnn_svhn_relu_forward")
    with pytest.raises(ZoovetError, match=message):
        from_official(_changed(case.arguments, name, value), case.state, case.networks.graph)


def test_a_missing_switch_is_named() -> None:
    case = case_of("cnn_svhn_relu_forward")
    arguments = copy.deepcopy(case.arguments)
    del arguments["gnn_args"]["mlp_on_io"]
    with pytest.raises(ZoovetError, match=r"the key 'gnn_args.mlp_on_io' is missing"):
        from_official(arguments, case.state, case.networks.graph)


@pytest.mark.parametrize("name", ["cnn_svhn_relu_bidirectional", "inr_edit_factor_mlps", "cnn_permutation_full_graph"])
def test_every_parameter_is_accounted_for(name: str) -> None:
    case = case_of(name)
    for missing in sorted(case.state)[::25]:
        rest = {key: tensor for key, tensor in case.state.items() if key != missing}
        with pytest.raises(ZoovetError, match=f"the parameter '{missing}' of shape .* is missing"):
            from_official(case.arguments, rest, case.networks.graph)


def test_unknown_misshapen_and_nan_parameters_are_refused() -> None:
    case = case_of("cnn_svhn_relu_forward")
    graph, name = case.networks.graph, "gnn.fw_layers.2.w_v.weight"
    with pytest.raises(ZoovetError, match=r"unknown parameter 'gnn.fw_layers.9.w_v.weight'; did you mean 'gnn.fw_lay"):
        from_official(case.arguments, case.state | {"gnn.fw_layers.9.w_v.weight": torch.zeros(8, 8)}, graph)
    with pytest.raises(ZoovetError, match=rf"'{name}' must be a tensor of shape \(8, 8\), got \(8, 9\)"):
        from_official(case.arguments, case.state | {name: torch.zeros(8, 9)}, graph)
    with pytest.raises(ZoovetError, match=f"'{name}' must be finite"):
        from_official(case.arguments, case.state | {name: torch.full((8, 8), torch.nan)}, graph)


def test_networks_that_do_not_fit_the_model_are_refused() -> None:
    case = case_of("inr_mnist_forward")
    model = from_official(case.arguments, case.state, case.networks.graph)
    wrong = mlp((2, 16, 32, 1), "sine")
    networks = Networks.from_layers(
        wrong,
        tuple(torch.zeros(1, *shape) for shape in wrong.chain.weight_shapes),
        tuple(torch.zeros(1, *shape) for shape in wrong.chain.bias_shapes),
    )
    with pytest.raises(ZoovetError, match=r"the model reads networks 2 → linear 32 sine.*got 2 → linear 16 sine"):
        model(networks)
    with pytest.raises(ZoovetError, match="reads hidden groups with the symmetry sign, got 'scale'"):
        model(case.networks, ["relu"] * 4)
    with pytest.raises(ZoovetError, match="activations must name one for each of the 4 networks, got 3"):
        model(case.networks, ["sine"] * 3)
    biases = (case.networks.biases[0] * torch.nan, *case.networks.biases[1:])
    broken = Networks.from_layers(case.networks.graph, case.networks.weights, biases)
    with pytest.raises(ZoovetError, match="network 0 has NaN or infinite biases in layer 0"):
        model(broken)


def test_the_command_prints_a_line_for_each_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("inr_mnist_forward", "cnn_relu_edit"):
        (tmp_path / f"{name}.safetensors").write_bytes((FOLDER / f"{name}.safetensors").read_bytes())
    assert main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["cnn_relu_edit", "inr_mnist_forward"]
    assert all(float(line.split(": ")[1]) < 1e-12 for line in lines[:2])


def test_the_command_fails_where_an_output_deviates(tmp_path: Path) -> None:
    path = FOLDER / "inr_mnist_forward.safetensors"
    tensors = load_file(path)
    tensors["output"] = tensors["output"] * (1 + 1e-9)
    with safe_open(path, "pt") as file:
        save_file(tensors, tmp_path / "off.safetensors", file.metadata())
    command = [sys.executable, "-m", "zoovet.metanets.official", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "off: 1.0e-09 ABOVE 1e-11" in done.stdout


def test_the_command_says_what_it_cannot_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no case files" in capsys.readouterr().err
    (tmp_path / "broken.safetensors").write_bytes(b"not a file")
    assert main([str(tmp_path)]) == 2
    assert "broken: cannot be checked" in capsys.readouterr().out
    assert main([]) == 2

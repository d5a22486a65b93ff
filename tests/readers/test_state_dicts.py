from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks import Graph, LayerSpec, Networks, PoolSpec, mlp, run, to_module
from zoovet.readers import load_networks, read_state_dict
from zoovet.readers.layer_order import LayerOrderError
from zoovet.readers.state_dicts import Reading, networks_from_state_dict

MakeNetworks = Callable[..., Networks]
Make = Callable[..., nn.Module]


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor], zipped: bool) -> None:
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_networks(tmp_path / "a.pt", graph).flat(), networks.flat())
    assert list(read_state_dict(tmp_path / "a.pt")) == list(state)


def test_a_module_and_its_file_compute_the_same(graph: Graph, tmp_path: Path, networks_of: MakeNetworks) -> None:
    networks = networks_of(graph, 1)
    module = to_module(networks)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    images = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = run(load_networks(tmp_path / "a.pt", graph), images)
    torch.testing.assert_close(logits[0], module(images).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "net"])
def test_wrapped(graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor], name: str) -> None:
    torch.save({"epoch": 3, "loss": torch.tensor(0.5), name: state}, tmp_path / "a.pt")
    assert torch.equal(load_networks(tmp_path / "a.pt", graph).flat(), networks.flat())


def test_parameters_and_entries_that_are_no_tensors(
    graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor]
) -> None:
    torch.save({"epoch": 3, **{name: nn.Parameter(value) for name, value in state.items()}}, tmp_path / "a.pt")
    assert torch.equal(load_networks(tmp_path / "a.pt", graph).flat(), networks.flat())
    assert not any(tensor.requires_grad for tensor in read_state_dict(tmp_path / "a.pt").values())


def test_safetensors_has_no_order_and_needs_none(
    graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor]
) -> None:
    save_file(state, tmp_path / "a.safetensors")
    names = list(read_state_dict(tmp_path / "a.safetensors"))
    assert names[0].startswith("classifier"), "the file's order is not the layers'"
    assert torch.equal(load_networks(tmp_path / "a.safetensors", graph).flat(), networks.flat())


def test_numbers_in_names_are_numbers(tmp_path: Path, networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((4,) * 13), 1, dtype=torch.float32)
    module = to_module(networks)
    save_file(module.state_dict(), tmp_path / "a.safetensors")
    assert torch.equal(load_networks(tmp_path / "a.safetensors", networks.graph).flat(), networks.flat())


def test_no_bias_is_a_bias_of_zero(graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor]) -> None:
    del state["features.2.bias"]
    torch.save(state, tmp_path / "a.pt")
    loaded = load_networks(tmp_path / "a.pt", graph)
    assert torch.equal(loaded.biases[1], torch.zeros(1, 2))
    assert torch.equal(loaded.weights[1], networks.weights[1])


def test_one_precision(graph: Graph, tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "half.pt")
    assert load_networks(tmp_path / "half.pt", graph).dtype == torch.float32
    state["features.0.bias"] = state["features.0.bias"].double()
    torch.save(state, tmp_path / "mixed.pt")
    assert load_networks(tmp_path / "mixed.pt", graph).dtype == torch.float64


def test_the_spec_is_asked_for(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    message = (
        r"a\.pt does not say what its network is .* give graph=…, .* holds 2 convolutions, 1 linear layer, 141 numbers$"
    )
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"features.2.weight": torch.zeros(5, 4, 3, 3)},
            r"layer 1 \(conv\) must have a weight of 2×4×3×3 and a bias of 2, "
            r"'features\.2' is 5×4×3×3 and its bias 2$",
        ),
        ({"features.2.bias": torch.zeros(3)}, r"layer 1 \(conv\) .* 'features\.2' is 2×4×3×3 and its bias 3$"),
        ({"classifier.0.weight": torch.zeros(3, 9)}, r"layer 2 \(linear\) must have a weight of 3×8 or 3×2×2×2 and"),
        ({"classifier.0.weight": torch.zeros(8, 3)}, r"'classifier\.0' is 8×3 .*; transposed it would, which is not"),
        (
            {"extra.weight": torch.zeros(2, 2), "extra.bias": torch.zeros(2)},
            r"it holds 2 convolutions, 2 linear layers, 147 numbers, the graph is 1×6×6 → conv 4 3×3 relu → ",
        ),
        (
            {"classifier.0.weight": None, "classifier.0.bias": None},
            r"it holds 2 convolutions, 114 numbers, the graph is",
        ),
        ({"classifier.0.weight": None}, r"it holds 2 convolutions, 117 numbers, the graph is"),
        ({"other.bias": torch.zeros(3)}, r"tensor 'other\.bias' \(3\) is no weight or bias of a convolution, a linear"),
        ({"act.weight": torch.full((1,), 0.25)}, r"tensor 'act\.weight' \(1\) is no weight or bias .*might be"),
        ({"temperature": torch.ones(1)}, r"tensor 'temperature' \(1\) is no weight or bias"),
        ({"positions": torch.arange(3)}, r"tensor 'positions' \(3\) is no weight or bias"),
        ({"criterion.centers": torch.ones(3, 8)}, r"tensor 'criterion\.centers' \(3×8\) is no weight or bias"),
        ({"a\x1b[2J\n" * 99: torch.ones(1)}, r"tensor 'a\\x1b.*…"),
        (
            {"bn.running_mean": torch.zeros(4), "bn.num_batches_tracked": torch.tensor(3)},
            r"the batch norm 'bn' is not whole: it needs a running_mean and a running_var",
        ),
        ({"features.2.bias": torch.tensor([1.0, torch.nan])}, r"'features\.2\.bias' has NaN or infinite numbers"),
        ({"features.0.bias": torch.full((4,), torch.inf)}, r"tensor 'features\.0\.bias' has NaN or infinite numbers"),
        (
            {"features.0.bias": torch.full((4,), 1e39, dtype=torch.float64)},
            r"tensor 'features\.0\.bias' has numbers beyond the range of float32",
        ),
        ({"features.0.bias": torch.zeros(4, dtype=torch.int64)}, r"'features\.0\.bias' is of int64; weights are"),
        ({"features.0.bias": torch.zeros(4, dtype=torch.complex64)}, r"tensor 'features\.0\.bias' is of complex64;"),
        ({"features.0.bias": torch.zeros(4).to(torch.float8_e4m3fn)}, r"'features\.0\.bias' is of float8_e4m3fn;"),
        ({"features.0.bias": torch.zeros(4).to(torch.float8_e5m2fnuz)}, r"'features\.0\.bias' is of float8_e5m2fnuz;"),
        ({"features.0.bias": torch.zeros(4, device="meta")}, r"'features\.0\.bias' is a meta tensor, which"),
        ({"features.0.bias": torch.zeros(4).to_sparse()}, r"'features\.0\.bias' is a sparse tensor of float32;"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    graph: Graph, tmp_path: Path, state: dict[str, Tensor], changes: dict[str, Tensor | None], message: str
) -> None:
    changed = {name: value for name, value in {**state, **changes}.items() if value is not None}
    torch.save(changed, tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=rf"a\.pt.*{message}"):
        load_networks(tmp_path / "a.pt", graph)


def test_a_file_in_another_order_has_one_reading(
    graph: Graph, tmp_path: Path, networks: Networks, state: dict[str, Tensor]
) -> None:
    torch.save(dict(reversed(state.items())), tmp_path / "a.pt")
    assert torch.equal(load_networks(tmp_path / "a.pt", graph).flat(), networks.flat())


@pytest.mark.parametrize("name", ["features.0.bias", "extra.weight"])
def test_nested_and_quantized_tensors_are_named(state: dict[str, Tensor], graph: Graph, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
        quantized = torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)
    for tensor, kind in ((nested, "a nested tensor"), (quantized, "of qint8")):
        message = rf"a\.pt: tensor '{name}' is {kind}; weights are dense real numbers of 16 to 64 bits$"
        with pytest.raises(ZoovetError, match=message):
            networks_from_state_dict({**state, name: tensor}, graph, "a.pt")


def test_safetensors_that_do_not_fit(graph: Graph, tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file({**state, "features.2.weight": torch.zeros(5, 4, 3, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(ZoovetError, match=r"a\.safetensors does not fit the graph: layer 1 \(conv\) must"):
        load_networks(tmp_path / "a.safetensors", graph)


def test_the_order_can_be_given(graph: Graph, tmp_path: Path, networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((3, 3, 3)), 1, dtype=torch.float32)
    state = {}
    for name, weight, bias in zip(("one", "two"), networks.weights, networks.biases, strict=True):
        state |= {f"{name}.weight": weight[0], f"{name}.bias": bias[0]}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(LayerOrderError, match=r"in which order one 3×3, two 3×3 run is open"):
        load_networks(tmp_path / "a.safetensors", networks.graph)
    for files in (tmp_path / "a.safetensors", [tmp_path / "a.safetensors"]):
        assert torch.equal(load_networks(files, networks.graph, order=["one", "two"]).flat(), networks.flat())


@pytest.mark.parametrize("as_convolution", [True, False])
def test_a_1x1_convolution_and_a_linear_layer_are_the_same(
    chain: Make, read: Callable[..., Reading], same_function: Callable[..., None], as_convolution: bool
) -> None:
    module = chain()
    state = module.state_dict()
    if as_convolution:
        head = nn.Conv2d(6, 6, 1).double()
        with torch.no_grad():
            head.weight.copy_(state["fc.weight"].view(6, 6, 1, 1))
            head.bias.copy_(state["fc.bias"])
        same_function(read({**state, "fc.weight": head.weight.detach()}), module)
        module.fc = head  # in front of the mean over the map
        same_function(read(module.state_dict()), module)
        return
    graph = Graph.of_layers(
        input_shape=(4, 2, 2),
        layers=(LayerSpec(kind="conv", in_channels=4, out_channels=3, kernel=(1, 1), pool=PoolSpec(kind="global")),),
    )
    state = {"weight": torch.ones(3, 4)}
    assert read(state, graph=graph).networks.weights[0].shape == (1, 3, 4, 1, 1)


def test_a_losses_numbers_and_counters_are_left_out(
    chain: Callable[..., nn.Module], read: Callable[..., Reading], same_function: Callable[..., None]
) -> None:
    module = chain()
    state = module.state_dict()
    counters = {"n_averaged": torch.tensor(3), "conv1.total_ops": torch.zeros(1), "fc.total_params": torch.zeros(1)}
    losses = {"criterion.weight": torch.ones(10), "loss_fn.pos_weight": torch.ones(6)}
    reading = read({**counters, **{f"model.{name}": value for name, value in state.items()}, **losses})
    same_function(reading, module)
    assert reading.notes == ("left out, as a loss's: criterion.weight, loss_fn.pos_weight",)
    assert read({**state, **counters}).notes == ()

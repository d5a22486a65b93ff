from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.networks import Networks, NetworkSpec, forward, mlp, to_module
from zoovet.readers import load_networks, read_state_dict

MakeNetworks = Callable[..., Networks]


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(
    spec: NetworkSpec, tmp_path: Path, networks: Networks, state: dict[str, Tensor], zipped: bool
) -> None:
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_networks(tmp_path / "a.pt", spec).flat(), networks.flat())
    assert list(read_state_dict(tmp_path / "a.pt")) == list(state)


def test_a_module_and_its_file_compute_the_same(spec: NetworkSpec, tmp_path: Path, networks_of: MakeNetworks) -> None:
    networks = networks_of(spec, 1)
    module = to_module(networks)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    images = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = forward(load_networks(tmp_path / "a.pt", spec), images)
    torch.testing.assert_close(logits[0], module(images).detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "net"])
def test_wrapped(spec: NetworkSpec, tmp_path: Path, networks: Networks, state: dict[str, Tensor], name: str) -> None:
    torch.save({"epoch": 3, "loss": torch.tensor(0.5), name: state}, tmp_path / "a.pt")
    assert torch.equal(load_networks(tmp_path / "a.pt", spec).flat(), networks.flat())


def test_parameters_and_entries_that_are_no_tensors(
    spec: NetworkSpec, tmp_path: Path, networks: Networks, state: dict[str, Tensor]
) -> None:
    torch.save({"epoch": 3, **{name: nn.Parameter(value) for name, value in state.items()}}, tmp_path / "a.pt")
    assert torch.equal(load_networks(tmp_path / "a.pt", spec).flat(), networks.flat())
    assert not any(tensor.requires_grad for tensor in read_state_dict(tmp_path / "a.pt").values())


def test_safetensors_has_no_order_and_needs_none(
    spec: NetworkSpec, tmp_path: Path, networks: Networks, state: dict[str, Tensor]
) -> None:
    save_file(state, tmp_path / "a.safetensors")
    names = list(read_state_dict(tmp_path / "a.safetensors"))
    assert names[0].startswith("classifier"), "the file's order is not the layers'"
    assert torch.equal(load_networks(tmp_path / "a.safetensors", spec).flat(), networks.flat())


def test_numbers_in_names_are_numbers(tmp_path: Path, networks_of: MakeNetworks) -> None:
    networks = networks_of(mlp((4,) * 13), 1, dtype=torch.float32)
    module = to_module(networks)
    save_file(module.state_dict(), tmp_path / "a.safetensors")
    assert torch.equal(load_networks(tmp_path / "a.safetensors", networks.spec).flat(), networks.flat())


def test_no_bias_is_a_bias_of_zero(
    spec: NetworkSpec, tmp_path: Path, networks: Networks, state: dict[str, Tensor]
) -> None:
    del state["features.2.bias"]
    torch.save(state, tmp_path / "a.pt")
    loaded = load_networks(tmp_path / "a.pt", spec)
    assert torch.equal(loaded.biases[1], torch.zeros(1, 2))
    assert torch.equal(loaded.weights[1], networks.weights[1])


def test_one_precision(spec: NetworkSpec, tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "half.pt")
    assert load_networks(tmp_path / "half.pt", spec).dtype == torch.float32
    state["features.0.bias"] = state["features.0.bias"].double()
    torch.save(state, tmp_path / "mixed.pt")
    assert load_networks(tmp_path / "mixed.pt", spec).dtype == torch.float64


def test_the_spec_is_asked_for(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(state, tmp_path / "a.pt")
    message = r"a\.pt does not say what its network is .* give spec=…, .* features\.0\.weight 4×1×3×3, "
    with pytest.raises(ZoovetError, match=message):
        load_networks(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"features.2.weight": torch.zeros(5, 4, 3, 3)},
            r"layer 1 \(conv\) must have a weight of 2×4×3×3 and a bias of 2, "
                r"the file has features\.2\.weight 5×4×3×3, "
            r"features\.2\.bias 2; the spec is 1×6×6 → conv 4",
        ),
        ({"features.2.bias": torch.zeros(3)}, r"layer 1 \(conv\) .* features\.2\.bias 3; the spec"),
        ({"classifier.0.weight": torch.zeros(3, 9)}, r"layer 2 \(linear\) must have a weight of 3×8 or 3×2×2×2 and"),
        (
            {"extra.weight": torch.zeros(2, 2), "extra.bias": torch.zeros(2)},
            r"the spec has 3 layers \(1×6×6 → .*\), the file 4 \(features\.0\.weight 4×1×3×3, .*extra\.bias 2\)",
        ),
        (
            {"classifier.0.weight": None, "classifier.0.bias": None},
            r"the spec has 3 layers \(.*\), the file 2 \(features\.0\.weight",
        ),
        ({"classifier.0.weight": None}, r"the bias 'classifier\.0\.bias' has no weight"),
        ({"temperature": torch.ones(1)}, r"tensor 'temperature' is called neither weight nor bias"),
        (
            {"bn.running_mean": torch.zeros(4), "bn.num_batches_tracked": torch.tensor(3)},
            r"statistics of a batch norm \(bn\.running_mean, bn\.num_batches_tracked\).*zoovet\.networks\.from_module",
        ),
        ({"features.2.bias": torch.tensor([1.0, torch.nan])}, r"'features\.2\.bias' has NaN or infinite numbers"),
        ({"features.0.bias": torch.full((4,), torch.inf)}, r"tensor 'features\.0\.bias' has NaN or infinite numbers"),
        ({"features.0.bias": torch.zeros(4, dtype=torch.int64)}, r"'features\.0\.bias' is torch\.int64.*dense real"),
        ({"features.0.bias": torch.zeros(4).to_sparse()}, r"'features\.0\.bias' is a sparse tensor of float32"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    spec: NetworkSpec, tmp_path: Path, state: dict[str, Tensor], changes: dict[str, Tensor | None], message: str
) -> None:
    changed = {name: value for name, value in {**state, **changes}.items() if value is not None}
    torch.save(changed, tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=rf"a\.pt.*{message}"):
        load_networks(tmp_path / "a.pt", spec)


def test_layers_of_a_torch_file_are_in_its_order(spec: NetworkSpec, tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(dict(reversed(state.items())), tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=r"layer 0 \(conv\) must have .* the file has classifier\.0\.weight 3×8"):
        load_networks(tmp_path / "a.pt", spec)


def test_safetensors_that_do_not_fit(spec: NetworkSpec, tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file({**state, "features.2.weight": torch.zeros(5, 4, 3, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(ZoovetError, match=r"a\.safetensors does not fit the spec: layer \d"):
        load_networks(tmp_path / "a.safetensors", spec)

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from zoovet.errors import ZoovetError
from zoovet.readers.parametrizations import fold_parametrizations


def old(function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*arguments, **options)


def layers() -> list[nn.Conv2d | nn.Linear]:
    torch.manual_seed(0)
    return [nn.Conv2d(3, 5, 3), nn.Conv2d(4, 1, (1, 3)), nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(3, 1, bias=False)]


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "pruned by size": lambda layer: prune.l1_unstructured(layer, "weight", 0.4),
    "pruned by channel": lambda layer: prune.ln_structured(layer, "weight", 0.5, n=1, dim=1),
    "pruned twice": lambda layer: [prune.random_unstructured(layer, "weight", 0.3) for _ in range(2)],
    "weight norm, old": lambda layer: old(nn.utils.weight_norm, layer),
    "weight norm, old, one length": lambda layer: old(nn.utils.weight_norm, layer, dim=None),
    "weight norm, old, inputs": lambda layer: old(nn.utils.weight_norm, layer, dim=1),
    "weight norm": parametrizations.weight_norm,
    "weight norm, inputs": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "spectral norm, old": lambda layer: old(nn.utils.spectral_norm, layer),
    "spectral norm": parametrizations.spectral_norm,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("index", range(5))
def test_a_weight_is_what_torch_computes_in_evaluation_mode(way: str, index: int) -> None:
    layer = layers()[index]
    WAYS[way](layer)
    inputs = torch.randn(2, 4 if index == 1 else layer.weight.shape[1], *([6, 6] if layer.weight.dim() == 4 else []))
    layer.train()(inputs)  # spectral norm moves its vectors while it is trained
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.01)
        layer.eval()(inputs)  # hooks of the old kind compute the weight before a forward pass
    stored = {f"net.0.{name}": tensor.clone() for name, tensor in layer.state_dict().items()}
    folded = fold_parametrizations(stored, "a.pt")
    assert set(folded) == {"net.0.weight", "net.0.bias"} - ({"net.0.bias"} if layer.bias is None else set())
    torch.testing.assert_close(folded["net.0.weight"], layer.weight.detach(), rtol=1e-6, atol=1e-7)
    assert not torch.allclose(folded["net.0.weight"], next(iter(stored.values())).reshape(-1)[0]), "nothing was to fold"


def test_masks_of_biases_and_of_whole_numbers() -> None:
    layer = nn.Linear(4, 4)
    prune.random_unstructured(layer, "bias", 2)
    stored = dict(layer.state_dict())
    assert torch.equal(fold_parametrizations(stored, "a.pt")["bias"], layer.bias.detach())
    stored["bias_mask"] = stored["bias_mask"].bool()
    assert torch.equal(fold_parametrizations(stored, "a.pt")["bias"], layer.bias.detach())


def test_other_names_stay_as_they_are() -> None:
    tensors = {name: torch.ones(2, 2) for name in ("a.weight", "b.weight_v", "c.weights_g", "d.weight_mask")}
    assert fold_parametrizations(tensors, "a.pt") == tensors


ONES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a.weight_orig": ONES}, r"'a\.weight' is kept in parts whose meaning is not known \(_orig\); known are"),
        ({"a.parametrizations.weight.original": ONES}, r"'a\.weight' is kept in parts .*\(\.original\)"),
        (
            {"a.parametrizations.weight.original": ONES, "a.parametrizations.weight.0.base": ONES},
            r"'a\.weight' is kept in parts whose meaning is not known \(\.original, \.0\.base\)",
        ),
        ({"a.weight_orig": ONES, "a.weight_mask": ONES, "a.weight": ONES}, r"not known \(_orig, _mask, itself\)"),
        ({"a.weight_orig": ONES, "a.weight_mask": torch.ones(3, 2)}, r"the parts of 'a\.weight' do not fit one"),
        ({"a.weight_v": ONES, "a.weight_g": torch.ones(3, 1)}, r"the parts of 'a\.weight' do not fit one another"),
        ({"a.weight_v": ONES, "a.weight_g": torch.ones(2, 3)}, r"the parts of 'a\.weight' do not fit one another"),
        ({"weight_orig": ONES, "weight_u": torch.ones(2), "weight_v": torch.ones(4)}, r"of 'weight' do not fit one"),
        ({"weight_orig": ONES, "weight_u": torch.ones(5), "weight_v": torch.ones(3)}, r"of 'weight' do not fit one"),
        (
            {"weight_orig": torch.ones(1).expand(2**20, 2**20), "weight_mask": torch.ones(1).expand(2**20, 2**20)},
            r"a part of 'weight' is larger than what is stored of it",
        ),
        (
            {"weight_v": ONES.to(torch.float8_e4m3fn), "weight_g": torch.ones(2, 1)},
            r"tensor 'weight_v' is of float8_e4m3fn",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_folded_is_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ZoovetError, match=rf"a\.pt: .*{message}"):
        fold_parametrizations(tensors, "a.pt")

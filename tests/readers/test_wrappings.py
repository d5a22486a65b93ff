from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.readers.state_dicts import read_state_dicts
from zoovet.readers.wrappings import unwrapped

Fixture = Callable[..., Any]


@pytest.fixture
def module(chain: Fixture) -> nn.Module:
    made: nn.Module = chain()
    return made


@pytest.fixture
def weights(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.state_dict())


def optimizer_of(module: nn.Module) -> dict[str, Any]:
    """An optimizer's state after a step, and one whose moments are called as the weights are."""
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 1, 12, 12, dtype=torch.float64)).sum().backward()
    optimizer.step()
    return {**optimizer.state_dict(), "momentum": {name: value.clone() for name, value in module.state_dict().items()}}


NAMES = ("conv1", "conv2", "conv3", "fc")


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    **{f"under {key}": lambda own, key=key: {key: own, "epoch": 1} for key in (
        "state_dict", "model", "net", "netC", "ema", "model_state", "state_dict_ema", "ema_state_dict", "backbone",
        "model.state_dict", "module", "params", "whatever 12 it is", "student", "\x1b[2J",
    )},
    "bare": lambda own: own,
    "two deep": lambda own: {"model": {"state_dict": own}},
    "six deep": lambda own: {"a": {"b": {"c": {"d": {"e": {"f": own}}}}}},
    "a list of one": lambda own: [own],
    "a tuple in a list": lambda own: [(own,)],
    "a list of one under a key": lambda own: {"state_dict": [own], "err": 0.3},
    "a list beside a tensor": lambda own: {"state_dict": [own], "acc": torch.tensor(1)},
    "epoch and dictionary": lambda own: [3, own],
    "under a number": lambda own: {0: own},
    "beside numpy": lambda own: {"state_dict": own, "best_acc": np.float64(0.9), "losses": np.arange(3.0)},
    "beside objects": lambda own: {"state_dict": own, "args": argparse.Namespace(lr=0.1), "dir": Path("x"), "no": None},
    "an attack's result": lambda own: {"model": own, "bd_train": {"x": torch.zeros(2, 2), "i": np.ones(3)}},
    "layers as dictionaries": lambda own: {
        "net": {name: {key: own[f"{name}.{key}"] for key in ("weight", "bias")} for name in NAMES}
    },
    "as numpy arrays": lambda own: {name: tensor.numpy() for name, tensor in own.items()},
    "swapped bytes": lambda own: {name: tensor.numpy().astype(">f8") for name, tensor in own.items()},
    "with numbers among them": lambda own: {**own, "epoch": 3, "temperature": 2.0},
    **{f"prefix {prefix}": partial(prefixed, prefix) for prefix in (
        "module.", "_orig_mod.", "model.", "net.", "module._orig_mod.model.",
    )},
    "the same twice": lambda own: {"model": own, "best": {name: value.clone() for name, value in own.items()}},
}  # fmt: skip


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_state_dict_is_found(
    wrapping: str, module: nn.Module, weights: dict[str, Tensor], same_function: Fixture, chain_graph: Any
) -> None:
    content = unwrapped(WRAPPINGS[wrapping](weights), "a.pt")
    same_function(read_state_dicts(content, chain_graph, "a.pt"), module)


def test_what_an_optimizer_keeps_is_no_network(module: nn.Module, same_function: Fixture, chain_graph: Any) -> None:
    optimizer = optimizer_of(module)
    data = {"optimizer": optimizer, "optim_state": [optimizer], "model": module.state_dict(), "lr_schedulers": [{}]}
    content = unwrapped(data, "a.pt")
    assert content.parts == ()
    same_function(read_state_dicts(content, chain_graph, "a.pt"), module)


def other(weights: dict[str, Tensor], factor: float = 2.0) -> dict[str, Tensor]:
    return {name: factor * value for name, value in weights.items()}


@pytest.mark.parametrize(
    ("average", "plain"), [("ema", "model"), ("state_dict_ema", "state_dict"), ("netEMA", "net"), ("swa_model", "best")]
)
def test_plain_weights_come_before_averages(
    module: nn.Module, weights: dict[str, Tensor], same_function: Fixture, chain_graph: Any, average: str, plain: str
) -> None:
    content = unwrapped({average: other(weights), "epoch": 3, plain: weights}, "a.pt")
    reading = read_state_dicts(content, chain_graph, "a.pt")
    same_function(reading, module)
    advice = "whoever loads an average of weights has another network; look at it too, in a file of its own"
    assert reading.notes == (f"read is '{plain}'; beside it the file holds '{average}': {advice}",)
    assert set(content.tensors) == {f"{part}.{name}" for part in (plain, average) for name in weights}


def test_averages_under_names_of_their_own(
    module: nn.Module, weights: dict[str, Tensor], read: Fixture, same_function: Fixture
) -> None:
    averages = {f"model_ema.{name.replace('.', '')}": 2 * value for name, value in weights.items()}
    counters = {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}
    reading = read({**prefixed("model.", weights), **averages, **counters})
    same_function(reading, module)
    assert reading.notes == ("averages of the weights ('model_ema') stand beside them and were left out",)
    attention = {"ema.weight": torch.ones(6, 6)}
    with pytest.raises(ZoovetError, match=r"does not fit the graph: it holds 3 convolutions, 2 linear layers"):
        read({**weights, **attention})


def test_of_two_networks_the_one_that_fits_is_read(
    module: nn.Module, weights: dict[str, Tensor], same_function: Fixture, chain_graph: Any
) -> None:
    generator = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)).state_dict()
    content = unwrapped({"netG": generator, "netC": weights, "optimizerC": {"state": {}}}, "a.pt")
    reading = read_state_dicts(content, chain_graph, "a.pt")
    same_function(reading, module)
    assert reading.notes == ("read is 'netC'; beside it the file holds 'netG'",)


@pytest.mark.parametrize("names", [("teacher", "student"), ("model", "best_model"), ("ema", "swa")])
def test_of_two_that_fit_none_is_chosen(weights: dict[str, Tensor], chain_graph: Any, names: tuple[str, str]) -> None:
    content = unwrapped({names[0]: weights, names[1]: other(weights)}, "a.pt")
    message = rf"a\.pt holds several networks that fit, '{names[0]}' and '{names[1]}': save the one that is meant in a"
    with pytest.raises(ZoovetError, match=message):
        read_state_dicts(content, chain_graph, "a.pt")


def test_two_networks_under_names_of_one_dictionary_are_refused(weights: dict[str, Tensor], read: Fixture) -> None:
    both = {**prefixed("teacher.", weights), **prefixed("student.", weights)}
    with pytest.raises(ZoovetError, match=r"holds two networks|it holds 6 convolutions, 2 linear layers"):
        read(both)


def test_a_network_in_two_state_dicts_is_put_together(
    module: nn.Module, weights: dict[str, Tensor], same_function: Fixture, chain_graph: Any
) -> None:
    encoder = {name: value for name, value in weights.items() if name.startswith("conv")}
    head = {name: value for name, value in weights.items() if name.startswith("fc")}
    reading = read_state_dicts(unwrapped({"encoder": encoder, "head": head}, "a.pt"), chain_graph, "a.pt")
    same_function(reading, module)
    assert reading.notes == ("read as one network: 'encoder' and 'head'",)


def test_what_is_wrong_with_the_one_that_fits_is_said(weights: dict[str, Tensor], chain_graph: Any) -> None:
    generator = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)).state_dict()
    damaged = {**weights, "fc.bias": torch.full((6,), torch.nan)}
    with pytest.raises(ZoovetError, match=r"tensor 'fc\.bias' has NaN or infinite numbers"):
        read_state_dicts(unwrapped({"netG": generator, "netC": damaged}, "a.pt"), chain_graph, "a.pt")


def test_numbers_on_the_way_are_kept(weights: dict[str, Tensor]) -> None:
    others = {"huge": 10**400, "nan": np.nan, "yes": True}
    data = {"label": 7, "epoch": np.int64(3), **others, "net": {**weights, "psnr": 31.5}}
    assert unwrapped(data, "a.pt").numbers == {"label": 7, "epoch": 3, "psnr": 31.5}


def nested(depth: int) -> dict[str, Any]:
    data: dict[str, Any] = {"weight": torch.ones(2, 2)}
    for _ in range(depth):
        data = {"state_dict": data}
    return data


def shared(depth: int) -> list[Any]:
    data: list[Any] = [torch.ones(2)]
    for _ in range(depth):
        data = [data, data]
    return data


def itself() -> dict[str, Any]:
    data: dict[str, Any] = {"a": []}
    data["a"].append(data)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (nested(40), r"a\.pt holds dictionaries nested more than 32 deep, more than a checkpoint has; save its"),
        ({"a": [0] * 600_000}, r"a\.pt holds more than 500,000 entries, more than a checkpoint has"),
        (shared(30), r"a\.pt has no named tensors, it is a list of 2 entries; save its state dict"),
        (itself(), r"a\.pt has no named tensors, it is a dictionary of 'a'; save its state dict"),
        ({"a\n": 1, **{f"key {index}": 1 for index in range(99)}}, r"it is a dictionary of 'a\\\\n', 'key 0', 'key 1'"),
        (torch.ones(2), r"a\.pt holds a tensor, expected is a dictionary of named tensors"),
        (None, r"a\.pt holds nothing, expected is a dictionary"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_bounded_time(data: Any, message: str) -> None:
    with pytest.raises(ZoovetError, match=message) as raised:
        unwrapped(data, "a.pt")
    assert len(str(raised.value)) <= 250


def test_a_dictionary_of_tensors_without_weights_is_given_as_it_is() -> None:
    data = OrderedDict(a=torch.ones(2), b=torch.ones(3))
    assert list(unwrapped({"x": data}, "a.pt").tensors) == ["a", "b"]

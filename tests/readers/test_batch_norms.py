from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError

Fixture = Callable[..., Any]


def norms(*names: str, of: tuple[str, ...], affine: bool = True) -> dict[str, tuple[str, nn.Module]]:
    return {layer: (name, nn.BatchNorm2d(6, affine=affine)) for layer, name in zip(of, names, strict=True)}


NUMBERED = ("conv1", "conv2", "conv3")
SEQUENTIAL = ("net.0", "net.3", "net.6")


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("names", "behind"),
    [
        ((*NUMBERED, "fc"), ("bn1", "bn2", "bn3")),
        (("s1.conv", "s2.conv", "s3.conv", "head"), ("s1.bn", "s2.bn", "s3.bn")),
        (("convs.0", "convs.1", "convs.2", "fc"), ("bns.0", "bns.1", "bns.2")),
        (("conv1", "conv2", "conv3", "fc"), ("conv1_bn", "conv2_bn", "conv3_bn")),
        ((*SEQUENTIAL, "classifier"), ("net.1", "net.4", "net.7")),
    ],
)
def test_a_batch_norm_is_folded_into_the_layer_that_it_follows(
    chain: Fixture, read: Fixture, same_function: Fixture, names: Any, behind: Any, bias: bool, affine: bool, sort: bool
) -> None:
    module = chain(names, behind=norms(*behind, of=names[:3], affine=affine), bias=bias)
    reading = read(module.state_dict(), sort=sort)
    same_function(reading, module)
    assert reading.notes == (
        "3 batch norms folded into the layers before; assumed: no activation in between, eps 1e-5",
    )


def test_a_batch_norm_behind_a_linear_layer_and_only_some_layers(
    chain: Fixture, read: Fixture, same_function: Fixture
) -> None:
    module = chain(behind={"fc": ("last", nn.BatchNorm1d(6)), "conv2": ("bn2", nn.BatchNorm2d(6))})
    state = module.state_dict()
    with pytest.raises(
        ZoovetError, match=r"which layer the batch norm 'last' follows is open \(conv1, conv3, fc\); say"
    ):
        read(state)
    order = ["conv1", "conv2", "bn2", "conv3", "fc", "last"]
    reading = read(state, order=order)
    same_function(reading, module)
    assert reading.notes[0].startswith("2 batch norms folded")


def test_the_only_layer_left_with_as_many_channels_is_it(chain: Fixture, read: Fixture, same_function: Fixture) -> None:
    module = chain(behind={**norms("bn1", "bn2", of=("conv1", "conv2")), "fc": ("fc_norm", nn.BatchNorm1d(6))})
    state = module.state_dict()
    same_function(read(state), module)
    renamed = OrderedDict((name.replace("bn2", "some"), tensor) for name, tensor in state.items())
    with pytest.raises(ZoovetError, match=r"which layer the batch norm 'some' follows is open \(conv2, conv3\)"):
        read(renamed)


def changed(state: dict[str, Tensor], **changes: Tensor | None) -> dict[str, Tensor]:
    own = {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in {**state, **own}.items() if value is not None}


@pytest.mark.parametrize(
    ("names", "behind", "message"),
    [
        (("net.0", "net.4", "net.8", "fc"), ("net.2", "net.6", "net.10"), r"'net\.2' does not follow a layer directly"),
        (
            (*NUMBERED, "fc"),
            ("a", "b", "c"),
            r"which layer the batch norm 'a' follows is open \(conv1, conv2, conv3, fc\)",
        ),
        (
            (*NUMBERED, "fc"),
            ("bn1", "norm1", "bn3"),
            r"'norm1' and the layer 'conv1': the batch norm 'bn1' follows it too",
        ),
    ],
)
def test_which_layer_is_not_guessed(chain: Fixture, read: Fixture, names: Any, behind: Any, message: str) -> None:
    module = chain(names, behind=norms(*behind, of=names[:3]))
    with pytest.raises(ZoovetError, match=message):
        read(module.state_dict())


def test_a_batch_norm_before_its_layer_is_refused(chain: Fixture, read: Fixture) -> None:
    state = chain(behind=norms("bn1", "bn2", "bn3", of=NUMBERED)).state_dict()
    first = OrderedDict(sorted(state.items(), key=lambda item: not item[0].startswith("bn2")))
    with pytest.raises(
        ZoovetError, match=r"'bn2' and the layer 'conv2': it stands before it; only a batch norm behind"
    ):
        read(first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bn2__running_var": None}, r"the batch norm 'bn2' is not whole: it needs a running_mean and a running_var"),
        ({"bn2__running_mean": torch.zeros(5)}, r"the batch norm 'bn2' is not whole"),
        ({"bn2__running_var": -torch.ones(6)}, r"tensor 'conv2\.weight' has NaN or infinite numbers"),
        (
            {f"bn2__{name}": torch.ones(5) for name in ("running_mean", "running_var", "weight", "bias")},
            r"'bn2' and the layer 'conv2' have 5 and 6 channels|batch norm 'bn2' has 5 channels and no layer before",
        ),
        ({"ln__weight": torch.ones(6), "ln__bias": torch.ones(6)}, r"tensor 'ln\.weight' \(6\) is no weight or bias"),
    ],
)  # fmt: skip
def test_statistics_that_are_not_those_of_a_batch_norm(
    chain: Fixture, read: Fixture, changes: dict[str, Tensor | None], message: str
) -> None:
    state = chain(behind=norms("bn1", "bn2", "bn3", of=NUMBERED)).state_dict()
    with pytest.raises(ZoovetError, match=rf"a\.pt: .*({message})"):
        read(changed(state, **changes))

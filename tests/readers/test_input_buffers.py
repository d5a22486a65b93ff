from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.networks.scaling import InputScaling
from zoovet.readers.input_buffers import take_input_scaling

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        ("normalize.mean", "normalize.std"),
        ("mean", "std"),
        ("norm.mean", "norm.std"),
        ("0.mean", "0.std"),
        ("module.preprocess.pixel_mean", "module.preprocess.pixel_std"),
        ("mu", "sigma"),
        ("image_mean", "image_std"),
    ],
)
def test_mean_and_deviation_of_the_input_are_its_scaling(shape: tuple[int, ...], mean: str, deviation: str) -> None:
    weight = torch.ones(2, 2)
    tensors = {
        mean: torch.tensor(MEAN).view(shape),
        deviation: torch.tensor(DEVIATION).view(shape),
        "conv.weight": weight,
    }
    left, scaling = take_input_scaling(tensors, "a.pt")
    assert list(left) == ["conv.weight"]
    assert scaling == InputScaling(mean=MEAN, deviation=DEVIATION)


def test_large_numbers_are_for_pixels_of_0_to_255() -> None:
    tensors = {"mean": torch.tensor([[[127.5]]]), "std": torch.tensor([[[127.5]]])}
    _, scaling = take_input_scaling(tensors, "a.pt")
    assert scaling == InputScaling(low=-1, high=1)


@pytest.mark.parametrize(
    "tensors",
    [
        {"bn.running_mean": torch.zeros(3), "bn.running_var": torch.ones(3)},
        {"mean": torch.zeros(3)},
        {"a.mean": torch.zeros(3), "b.std": torch.ones(3)},
        {"mean": torch.zeros(3, 3), "std": torch.ones(3, 3)},
        {"mean": torch.zeros(3, 2, 2), "std": torch.ones(3, 2, 2)},
        {"mean": torch.zeros(0), "std": torch.ones(0)},
    ],
)
def test_other_tensors_are_none(tensors: dict[str, Tensor]) -> None:
    assert take_input_scaling(tensors, "a.pt") == (tensors, None)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"mean": torch.zeros(3), "std": torch.zeros(3)}, r"'mean' and its deviation: an input scaling's deviation"),
        ({"mean": torch.zeros(3), "std": torch.ones(2)}, r"'mean' and its deviation: .* for the same channels, got 3"),
        ({"mean": torch.tensor([torch.nan]), "std": torch.ones(1)}, r"tensor 'mean' has NaN or infinite numbers"),
        ({"mean": torch.zeros(3).char(), "std": torch.ones(3)}, r"tensor 'mean' is of int8"),
        (
            {f"{part}.{name}": torch.ones(3) for part in "ab" for name in ("mean", "std")},
            r"its input scaling is open, it has several means: 'a\.mean', 'b\.mean'",
        ),
    ],
)  # fmt: skip
def test_a_scaling_that_is_none_is_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ZoovetError, match=rf"a\.pt: {message}"):
        take_input_scaling(tensors, "a.pt")


def test_a_reading_says_its_scaling(
    chain: Callable[..., Any], read: Callable[..., Any], same_function: Callable[..., None]
) -> None:
    module = chain()
    buffers = {"normalize.mean": torch.tensor([0.286]), "normalize.std": torch.tensor([0.353])}
    reading = read({**buffers, **module.state_dict()})
    same_function(reading, module)
    assert reading.networks.graph.input_scaling == InputScaling(mean=(0.286,), deviation=(0.353,))
    assert reading.notes[0].startswith("its buffers say how images are scaled: [0, 1] minus 0.286, divided by 0.353")
    three = {name: value.expand(3) for name, value in buffers.items()}
    with pytest.raises(ZoovetError, match=r"a\.pt does not fit .* is for 3 channels, images have 1$"):
        read({**three, **module.state_dict()})

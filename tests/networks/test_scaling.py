from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.errors import ZoovetError
from zoovet.networks.scaling import SCALING_PRESETS, InputScaling, scaling_preset


def test_a_pixel_becomes_what_torchvision_makes_of_it() -> None:
    images = torch.arange(24, dtype=torch.uint8).mul(11).view(2, 3, 2, 2)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (images.float() / 255 - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    assert torch.equal(scaling_preset("imagenet").apply(images), expected)
    torch.testing.assert_close(scaling_preset("symmetric").apply(images), images.float() / 127.5 - 1)
    torch.testing.assert_close(scaling_preset("byte").apply(images), images.float())


@pytest.mark.parametrize("name", SCALING_PRESETS)
def test_affine_and_bounds_say_what_apply_does(name: str) -> None:
    scaling = scaling_preset(name)
    channels = scaling.num_channels or 2
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, channels, 1, 1)
    lowest, highest, between = scaling.apply(images).flatten(1)
    gains, offsets = map(torch.tensor, scaling.affine(channels))
    torch.testing.assert_close(between, 0.2 * gains + offsets)
    for found, expected in zip((lowest, highest), scaling.bounds(channels), strict=True):
        torch.testing.assert_close(found, torch.tensor(expected))


def test_scalings_are_equal_where_they_mean_the_same() -> None:
    halves = InputScaling(mean=(0.5,), deviation=(0.5,))
    assert halves == scaling_preset("symmetric") == InputScaling(mean=(0.5, 0.5, 0.5), deviation=(0.5,))
    assert len({halves, scaling_preset("symmetric")}) == 1
    bytes_first = InputScaling(high=255.0, mean=(123.675, 116.28, 103.53), deviation=(58.395, 57.12, 57.375))
    assert bytes_first == scaling_preset("imagenet")
    once_float32 = tuple(float(np.float32(value)) for value in (0.485, 0.456, 0.406))
    assert InputScaling(mean=once_float32, deviation=(0.229, 0.224, 0.225)) == scaling_preset("imagenet")
    assert InputScaling(mean=(0.1,)) != InputScaling(mean=(0.1001,))
    assert InputScaling(mean=(0.0, 0.1)) != InputScaling(mean=(0.1, 0.0))
    assert len(set(SCALING_PRESETS.values())) == len(SCALING_PRESETS)
    assert InputScaling() != "unit"


@pytest.mark.parametrize("scaling", [*SCALING_PRESETS.values(), InputScaling(low=-3, high=7.5, mean=(0.1, 0.2))])
def test_json_both_ways(scaling: InputScaling) -> None:
    again = InputScaling.from_json(json.loads(json.dumps(scaling.to_json())))
    assert again == scaling
    assert again.to_json() == scaling.to_json()


def test_describe() -> None:
    assert scaling_preset("symmetric").describe() == "[-1, 1] (symmetric)"
    assert InputScaling(mean=(0.286,), deviation=(0.353,)).describe() == (
        "[0, 1] minus 0.286, divided by 0.353 (fashion_mnist)"
    )
    assert InputScaling(high=2.0, deviation=(3.0, 4.0)).describe() == "[0, 2] divided by (3, 4)"
    assert InputScaling(mean=(0.0, 1.0, 2.0, 3.0, 4.0)).describe() == "[0, 1] minus (0, 1, 2, 3, …)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "LOW < HIGH, got 1,1"),
        ({"low": math.nan}, "range must be finite and at most 1e[+]06, got nan"),
        ({"high": 1e7}, "range must be finite and at most"),
        ({"mean": (math.inf,)}, "mean must be finite"),
        ({"deviation": (0.5, 0.0)}, "deviation must be at least 1e-06, got 0"),
        ({"deviation": (-1.0,)}, "deviation must be at least"),
        ({"mean": (0.1, 0.2), "deviation": (1.0, 1.0, 1.0)}, "same channels, got 2 and 3 numbers"),
        ({"mean": ()}, "mean must hold 1 to 1024 numbers, got 0"),
        ({"mean": (0.0,) * 1025}, "mean must hold 1 to 1024 numbers, got 1025"),
    ],
)
def test_numbers_that_are_no_scaling(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        InputScaling(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"range": [0, 1, 2]}, "range must hold 2 numbers, got 3"),
        ({"range": "0,1"}, "range must be a list of 1 to 1024 numbers"),
        ({"mean": [0] * 100_000}, "mean must be a list of 1 to 1024 numbers"),
        ({"mean": [True]}, "mean must be a finite number, got true"),
        ({"mean": [10**400]}, "mean must be a finite number"),
        ({"deviation": [float("nan")]}, "deviation must be a finite number, got nan"),
        ({"std": [1]}, "unknown key 'std'"),
    ],
)
def test_json_that_is_no_scaling(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        InputScaling.from_json(InputScaling().to_json() | change)
    with pytest.raises(ZoovetError, match="must be a JSON object, got "):
        InputScaling.from_json([])


def test_a_scaling_of_other_channels_and_images_that_are_none() -> None:
    with pytest.raises(ZoovetError, match="is for 3 channels, but images have 1; give one mean and one deviation"):
        scaling_preset("imagenet").apply(torch.zeros(1, 4, 4, dtype=torch.uint8))
    with pytest.raises(ZoovetError, match=r"must be uint8 \[..., C, H, W\], got torch.float32"):
        InputScaling().apply(torch.zeros(1, 4, 4))
    with pytest.raises(ZoovetError, match="'symetric' is unknown; did you mean 'symmetric'"):
        scaling_preset("symetric")


@pytest.mark.parametrize("name", ["unit", "symmetric", "mnist", "fashion_mnist", "imagenet", "cifar10"])
def test_usual_scalings_are_near_each_other(name: str) -> None:
    for other in ("symmetric", "unit"):
        assert not SCALING_PRESETS[name].is_far_from(SCALING_PRESETS[other], 3)
        assert not SCALING_PRESETS[other].is_far_from(SCALING_PRESETS[name], 3)


@pytest.mark.parametrize(
    "far",
    [
        SCALING_PRESETS["byte"],
        InputScaling(low=-128, high=127),
        InputScaling(low=100, high=101),
        InputScaling(deviation=(10.0,)),
        InputScaling(mean=(0.5, 0.5, 0.5), deviation=(0.25, 0.25, 0.01)),
    ],
)
def test_scalings_of_other_widths_or_places_are_far(far: InputScaling) -> None:
    assert far.is_far_from(SCALING_PRESETS["symmetric"], 3)
    assert SCALING_PRESETS["symmetric"].is_far_from(far, 3)
    assert not far.is_far_from(far, 3)

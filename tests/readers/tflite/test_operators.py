"""Each operator of TensorFlow Lite against torch, on files of one image and of any number, of three images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.networks import run
from zoovet.readers import content_of_bytes

from .conftest import Step, Wrote

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.normal(size=(3, 6, 7, 4)).astype(np.float32))
SLOPES = np.array([[[0.3, 1.2, 0.5, -0.7]]], np.float32)
KERNEL, DEPTHWISE = (RNG.normal(size=size).astype(np.float32) for size in ((5, 3, 2, 4), (1, 2, 3, 8)))
BIAS, MATRIX, LONG = (RNG.normal(size=size).astype(np.float32) for size in ((5,), (5, 4), (5, 168)))
GROUPED, OTHER = (RNG.normal(size=size).astype(np.float32) for size in ((6, 3, 3, 2), (1, 6, 7, 4)))

Case = tuple[list[Step], Mapping[str, Any], Callable[[Tensor], Tensor]]


def whole(*numbers: Any) -> Any:
    """An array of whole numbers."""
    return np.array(numbers, np.int32)


def chosen(*inputs: str, **settings: Any) -> dict[str, Any]:
    return {"inputs": inputs, "settings": settings}


def slid(weight: Any, bias: Any, groups: int, same: bool, **more: Any) -> Callable[[Tensor], Tensor]:
    """A convolution of maps with channels last; ``same`` pads as TensorFlow does."""

    def compute(value: Tensor) -> Tensor:
        kernel, stride = torch.from_numpy(weight), more.get("stride", (1, 1))
        dilation = more.get("dilation", (1, 1))
        maps = value.permute(0, 3, 1, 2)
        maps = functional.pad(maps, sides(maps, kernel.shape[2:], stride, dilation)) if same else maps
        offset = None if bias is None else torch.from_numpy(bias)
        made = functional.conv2d(maps, kernel, offset, stride=stride, dilation=dilation, groups=groups)
        return made.permute(0, 2, 3, 1)

    return compute


def sides(maps: Tensor, kernel: Any, stride: Any, dilation: Any = (1, 1)) -> list[int]:
    """(left, right, top, bottom) so that ⌈size / stride⌉ places come out, the odd one behind."""
    found: list[int] = []
    for size, window, step, spread in zip(maps.shape[2:], kernel, stride, dilation, strict=True):
        total = max((-(-size // step) - 1) * step + (window - 1) * spread + 1 - size, 0)
        found = [total // 2, total - total // 2, *found]
    return found


def averaged(value: Tensor, kernel: Any, stride: Any) -> Tensor:
    """Means over the places of a window that are in the map."""
    maps = value.permute(0, 3, 1, 2)
    padded = sides(maps, kernel, stride)
    sums, counts = (
        functional.avg_pool2d(functional.pad(one, padded), kernel, stride, divisor_override=1)
        for one in (maps, torch.ones_like(maps))
    )
    return (sums / counts).permute(0, 2, 3, 1)


def highest(value: Tensor, kernel: Any, stride: Any) -> Tensor:
    maps = value.permute(0, 3, 1, 2)
    padded = functional.pad(maps, sides(maps, kernel, stride), value=-torch.inf)
    return functional.max_pool2d(padded, kernel, stride).permute(0, 2, 3, 1)


def resized(value: Tensor, **settings: Any) -> Tensor:
    return functional.interpolate(value.permute(0, 3, 1, 2), **settings).permute(0, 2, 3, 1)


CONV = {"stride_width": 1, "stride_height": 2, "activation": 0}
POOL = {"stride_width": 3, "stride_height": 2, "filter_width": 2, "filter_height": 3}


def one(op: str, *constants: Any, **settings: Any) -> tuple[list[Step], dict[str, Any]]:
    """A step that reads ``h`` and constants."""
    names = [f"c{index}" for index in range(len(constants))]
    return [Step(op, ("h", *names), settings=settings)], dict(zip(names, constants, strict=True))


CASES: dict[str, Case] = {
    "convolution": (
        *one("CONV_2D", KERNEL, BIAS, **CONV, dilation_width=2),
        slid(KERNEL.transpose(0, 3, 1, 2), BIAS, 1, True, stride=(2, 1), dilation=(1, 2)),
    ),
    "convolution of groups": (
        *one("CONV_2D", GROUPED, padding=1, stride_width=1, stride_height=1),
        slid(GROUPED.transpose(0, 3, 1, 2), None, 2, False),
    ),
    "convolution and relu6": (
        *one("CONV_2D", 9 * KERNEL, BIAS, **(CONV | {"activation": 3})),
        lambda value: slid(9 * KERNEL.transpose(0, 3, 1, 2), BIAS, 1, True, stride=(2, 1))(value).clamp(0, 6),
    ),
    "depthwise": (
        *one("DEPTHWISE_CONV_2D", DEPTHWISE, **CONV, depth_multiplier=2),
        slid(DEPTHWISE.transpose(3, 0, 1, 2), None, 4, True, stride=(2, 1)),
    ),
    "dilation for any number of images": (
        [
            Step("SPACE_TO_BATCH_ND", ("h", "two", "pads"), ("a",)),
            Step("CONV_2D", ("a", "kernel"), ("b",), {"padding": 1, "stride_width": 1, "stride_height": 1}),
            Step("BATCH_TO_SPACE_ND", ("b", "two", "crops")),
        ],
        {"two": whole(2, 2), "kernel": KERNEL, "pads": whole([2, 2], [1, 2]), "crops": whole([0, 0], [0, 1])},
        slid(KERNEL.transpose(0, 3, 1, 2), None, 1, True, dilation=(2, 2)),
    ),
    "fully connected": (
        *one("FULLY_CONNECTED", LONG, BIAS, activation=1),
        lambda value: functional.linear(value.flatten(1), torch.from_numpy(LONG), torch.from_numpy(BIAS)).relu(),
    ),
    "fully connected, axes kept": (
        *one("FULLY_CONNECTED", MATRIX, BIAS, keep_num_dims=True),
        lambda value: functional.linear(value, torch.from_numpy(MATRIX), torch.from_numpy(BIAS)),
    ),
    "fully connected behind a flattened map": (
        [
            Step("MAX_POOL_2D", ("h",), ("a",), {**dict.fromkeys(POOL, 1)}),
            Step("RESHAPE", ("a", "sizes"), ("b",)),
            Step("FULLY_CONNECTED", ("b", "matrix", "")),
        ],
        {"sizes": whole(-1, 168), "matrix": LONG},
        lambda value: functional.linear(value.flatten(1), torch.from_numpy(LONG)),
    ),
    "max pool": (*one("MAX_POOL_2D", **POOL), lambda value: highest(value, (3, 2), (2, 3))),
    "average pool": (*one("AVERAGE_POOL_2D", **POOL), lambda value: averaged(value, (3, 2), (2, 3))),
    "mean": (*one("MEAN", whole(1, 2)), lambda value: value.mean((1, 2))),
    "mean kept": (
        [Step("MEAN", ("h", "axes"), ("a",), {"keep_dims": True}), Step("SUB", ("h", "a"))],
        {"axes": whole(1, -2)},
        lambda value: value - value.mean((1, 2), keepdim=True),
    ),
    "sum of channels": (*one("SUM", whole(3)), lambda value: value.sum(3)),
    "sum of rows": (*one("SUM", whole(1)), lambda value: value.sum(1)),
    "maximum": (*one("REDUCE_MAX", whole(2)), lambda value: value.amax(2)),
    "local response": (
        *one("LOCAL_RESPONSE_NORMALIZATION", radius=1, bias=1.0, alpha=0.5, beta=0.75),
        lambda value: functional.local_response_norm(value.permute(0, 3, 1, 2), 3, 1.5, 0.75, 1.0).permute(0, 2, 3, 1),
    ),
    "add": (*one("ADD", BIAS[:4], activation=2), lambda value: (value + torch.from_numpy(BIAS[:4])).clamp(-1, 1)),
    "add a map": (*one("ADD", OTHER), lambda value: value + torch.from_numpy(OTHER)),
    "subtract": (
        [Step("SUB", ("c", "h"), settings={"activation": 4})],
        {"c": np.float32(2)},
        lambda value: (2 - value).tanh(),
    ),
    "divide": (*one("DIV", np.abs(SLOPES)), lambda value: value / torch.from_numpy(np.abs(SLOPES))),
    "add all": (
        [Step("ADD_N", ("h", "h", "c"))],
        {"c": SLOPES},
        lambda value: 2 * value + torch.from_numpy(SLOPES),
    ),
    "maximum of two": (*one("MAXIMUM", SLOPES), lambda value: torch.maximum(value, torch.from_numpy(SLOPES))),
    "minimum of two": (*one("MINIMUM", SLOPES), lambda value: torch.minimum(value, torch.from_numpy(SLOPES))),
    "squared difference": (*one("SQUARED_DIFFERENCE", SLOPES), lambda value: (value - torch.from_numpy(SLOPES)) ** 2),
    "slopes of places": (
        *one("PRELU", OTHER[0]),
        lambda value: torch.where(value < 0, value * torch.from_numpy(OTHER), value),
    ),
    "leaky relu": (*one("LEAKY_RELU", alpha=0.2), lambda value: functional.leaky_relu(value, 0.2)),
    "gelu": (*one("GELU"), functional.gelu),
    "gelu by tanh": (*one("GELU", approximate=True), lambda value: functional.gelu(value, approximate="tanh")),
    "softmax": (*one("SOFTMAX", beta=2.0), lambda value: (2 * value).softmax(-1)),
    "log softmax": (*one("LOG_SOFTMAX"), lambda value: value.log_softmax(-1)),
    "power": (
        [Step("ABS", ("h",), ("a",)), Step("POW", ("a", "c"))],
        {"c": np.float32(1.5)},
        lambda value: value.abs() ** 1.5,
    ),
    "squares and roots": (
        [Step("SQUARE", ("h",), ("a",)), Step("RSQRT", ("a",), ("b",)), Step("SQRT", ("b",))],
        {},
        lambda value: value.abs() ** -0.5,
    ),
    "cast": ([Step("CAST", ("h",), settings={"in_data_type": 1, "out_data_type": 0})], {}, lambda value: value),
    "squeeze": (
        [
            Step("MEAN", ("h", "axes"), ("a",), {"keep_dims": True}),
            Step("SQUEEZE", ("a",), settings={"squeeze_dims": [1, 2]}),
        ],
        {"axes": whole(1, 2)},
        lambda value: value.mean((1, 2)),
    ),
    "expand": (*one("EXPAND_DIMS", whole(-1)), lambda value: value[..., None]),
    "transpose": (*one("TRANSPOSE", whole(0, 2, 3, 1)), lambda value: value.permute(0, 2, 3, 1)),
    "pad": (
        *one("PAD", whole([0, 0], [1, 0], [0, 2], [0, 0])),
        lambda value: functional.pad(value, (0, 0, 0, 2, 1, 0)),
    ),
    "pad with a number": (
        *one("PADV2", whole([0, 0], [1, 0], [0, 2], [0, 0]), np.float32(3)),
        lambda value: functional.pad(value, (0, 0, 0, 2, 1, 0), value=3),
    ),
    "mirror": (
        *one("MIRROR_PAD", whole([0, 0], [1, 1], [2, 0], [0, 0])),
        lambda value: functional.pad(value.permute(0, 3, 1, 2), (2, 0, 1, 1), "reflect").permute(0, 2, 3, 1),
    ),
    "mirror with the edge": (
        *one("MIRROR_PAD", whole([0, 0], [2, 0], [0, 1], [0, 0]), mode=1),
        lambda value: torch.cat(
            [torch.cat([value[:, [1, 0]], value], 1), torch.cat([value[:, [1, 0]], value], 1)[:, :, -1:]], 2
        ),
    ),
    "concatenate": (
        [Step("CONCATENATION", ("h", "h"), settings={"axis": 2})],
        {},
        lambda value: torch.cat([value] * 2, 2),
    ),
    "split": (
        [Step("SPLIT", ("axis", "h"), ("a", "b")), Step("SUB", ("a", "b"))],
        {"axis": np.int32(3)},
        lambda value: value[..., :2] - value[..., 2:],
    ),
    "split by sizes": (
        [Step("SPLIT_V", ("h", "sizes", "axis"), ("a", "y"))],
        {"sizes": whole(4, -1), "axis": np.int32(1)},
        lambda value: value[:, 4:],
    ),
    "pack": ([Step("PACK", ("h", "h"), settings={"axis": 1})], {}, lambda value: torch.stack([value] * 2, 1)),
    "unpack": (
        [Step("UNPACK", ("h",), ("a", "b", "c", "y"), {"num": 4, "axis": 3})],
        {},
        lambda value: value[..., 3],
    ),
    "slice": (
        *one("SLICE", whole(0, 1, 0, 2), whole(-1, 3, 5, -1)),
        lambda value: value[:, 1:4, :5, 2:],
    ),
    "strided slice": (
        *one(
            "STRIDED_SLICE",
            whole(0, 1, 2, -1),
            whole(0, 9, 9, 0),
            whole(1, 2, 3, 1),
            begin_mask=1,
            end_mask=5,
            shrink_axis_mask=8,
        ),
        lambda value: value[:, 1::2, 2::3, -1],
    ),
    "gather": (*one("GATHER", whole(3, 0, 1), axis=3), lambda value: value[..., [3, 0, 1]]),
    "tile": (*one("TILE", whole(1, 2, 1, 3)), lambda value: value.tile(1, 2, 1, 3)),
    "shapes that are computed": (
        [
            Step("AVERAGE_POOL_2D", ("h",), ("m",), {**dict.fromkeys(POOL, 1)}),
            Step("SHAPE", ("m",), ("a",)),
            Step("STRIDED_SLICE", ("a", "zero", "one", "one"), ("b",), {"shrink_axis_mask": 1}),
            Step("PACK", ("b", "rest"), ("c",)),
            Step("RESHAPE", ("m", "c")),
        ],
        {"zero": whole(0), "one": whole(1), "rest": np.int32(-1)},
        lambda value: value.flatten(1),
    ),
    "product of matrices": (
        [
            Step("RESHAPE", ("h", "sizes"), ("a",)),
            Step("BATCH_MATMUL", ("a", "a"), ("y",), {"adj_y": True}),
        ],
        {"sizes": whole(-1, 42, 4)},
        lambda value: value.flatten(1, 2) @ value.flatten(1, 2).mT,
    ),
    "bilinear": (
        *one("RESIZE_BILINEAR", whole(9, 5), half_pixel_centers=True),
        lambda value: resized(value, size=(9, 5), mode="bilinear"),
    ),
    "bilinear with corners": (
        *one("RESIZE_BILINEAR", whole(9, 5), align_corners=True),
        lambda value: resized(value, size=(9, 5), mode="bilinear", align_corners=True),
    ),
    "nearest": (*one("RESIZE_NEAREST_NEIGHBOR", whole(12, 14)), lambda value: resized(value, size=(12, 14))),
    "nearest by centers": (
        *one("RESIZE_NEAREST_NEIGHBOR", whole(9, 5), half_pixel_centers=True),
        lambda value: resized(value, size=(9, 5), mode="nearest-exact"),
    ),
    "depth to space": (
        *one("DEPTH_TO_SPACE", block_size=2),
        lambda value: value.reshape(-1, 6, 7, 2, 2, 1).permute(0, 1, 3, 2, 4, 5).reshape(-1, 12, 14, 1),
    ),
    "space to depth": (
        [Step("PAD", ("h", "pads"), ("a",)), Step("SPACE_TO_DEPTH", ("a",), settings={"block_size": 2})],
        {"pads": whole([0, 0], [0, 0], [0, 1], [0, 0])},
        lambda value: (
            functional.pad(value, (0, 0, 0, 1))
            .reshape(-1, 3, 2, 4, 2, 4)
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(-1, 3, 4, 16)
        ),
    ),
    **{
        op: (*one(op), function)
        for op, function in {
            "COS": None,
            "ELU": functional.elu,
            "EXP": torch.exp,
            "HARD_SWISH": functional.hardswish,
            "LOGISTIC": torch.sigmoid,
            "NEG": torch.neg,
            "RELU": torch.relu,
            "RELU6": functional.relu6,
            "RELU_0_TO_1": lambda value: value.clamp(0, 1),
            "SIN": torch.sin,
            "TANH": torch.tanh,
        }.items()
        if function is not None
    },
}


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_an_operator_computes_what_torch_does(written: Wrote, case: str, is_open: bool) -> None:
    """Of maps that lie as in the file, and of those that a convolution left channels first."""
    steps, constants, expected = CASES[case]
    first = [Step("PRELU", ("x", "slopes"), ("h",))]
    data = written([*first, *steps], {"slopes": SLOPES, **constants}, is_open=is_open)
    graph = content_of_bytes(data, "the file").graph
    assert graph is not None
    networks = graph.read(None, None).networks
    images = IMAGES.permute(0, 3, 1, 2).clone().requires_grad_()
    answers = run(networks, images)[0]
    wanted = expected(torch.where(IMAGES < 0, IMAGES * torch.from_numpy(SLOPES), IMAGES))
    torch.testing.assert_close(answers, wanted, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(answers.square().sum(), images)
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 0

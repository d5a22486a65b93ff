"""Every entry of the vocabulary: shapes are as inferred, B networks give what each gives, torch's own agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import INPUT, Networks, run, values_at
from zoovet.networks.ops import VOCABULARY

DrawNetworks = Callable[..., Networks]
MAP, TOKENS, VECTOR = (8, 7, 6), (5, 12), (10,)
NORM = {"weight": (8,), "bias": (8,)}
POOL = {"kernel_size": (3, 2), "stride": (2, 2)}

# (operation, input shape, how often the input is read, shapes of parameters, attributes)
Case = tuple[str, tuple[int, ...], int, dict[str, tuple[int, ...]], dict[str, Any]]
CASES: list[Case] = [
    ("conv2d", MAP, 1, {"weight": (16, 8, 3, 3), "bias": (16,)}, {"padding": (1, 1, 1, 1), "stride": (2, 1)}),
    ("conv2d", MAP, 1, {"weight": (4, 8, 3, 2)}, {"padding": (0, 1, 2, 0), "dilation": (2, 1)}),
    ("conv2d", MAP, 1, {"weight": (8, 1, 3, 3), "bias": (8,)}, {"groups": 8}),
    ("conv2d", MAP, 1, {"weight": (12, 2, 3, 3), "bias": (12,)}, {"groups": 4, "padding": (1, 0, 1, 0)}),
    ("conv2d", (16, 5, 5), 1, {"weight": (16, 8, 3, 3)}, {"groups": 2}),
    ("conv2d", (3, 5, 5), 1, {"weight": (4, 3, 1, 1), "bias": (4,)}, {}),
    ("linear", VECTOR, 1, {"weight": (4, 10), "bias": (4,)}, {}),
    ("linear", TOKENS, 1, {"weight": (4, 12)}, {}),
    ("linear", MAP, 1, {"weight": (4, 6), "bias": (4,)}, {}),
    ("matmul", (2, 5, 5), 2, {}, {}),
    ("scaled_dot_product_attention", (2, 5, 4), 3, {}, {}),
    ("scaled_dot_product_attention", (2, 5, 5), 4, {}, {"scale": 0.3}),
    ("scaled_dot_product_attention", TOKENS, 3, {}, {"is_causal": True}),
    ("batch_norm", MAP, 1, {**NORM, "running_mean": (8,), "running_var": (8,)}, {}),
    ("batch_norm", VECTOR, 1, {"running_mean": (10,), "running_var": (10,)}, {"eps": 0.1}),
    ("channel_affine", MAP, 1, NORM, {}),
    ("channel_affine", VECTOR, 1, {"weight": (10,), "bias": (10,)}, {}),
    ("instance_norm", MAP, 1, NORM, {}),
    ("group_norm", MAP, 1, NORM, {"num_groups": 4}),
    ("group_norm", MAP, 1, {}, {"num_groups": 1}),
    ("layer_norm", TOKENS, 1, {"weight": (12,), "bias": (12,)}, {"normalized_shape": (12,), "eps": 1e-6}),
    ("layer_norm", MAP, 1, {"weight": MAP}, {"normalized_shape": MAP}),
    ("leaky_relu", MAP, 1, {}, {"negative_slope": 0.2}),
    ("gelu", MAP, 1, {}, {"approximate": "tanh"}),
    ("clamp", MAP, 1, {}, {"min": -0.5}),
    ("clamp", MAP, 1, {}, {"max": 0.5}),
    ("sin", VECTOR, 1, {}, {"frequency": 30.0}),
    ("pow", VECTOR, 1, {}, {"exponent": 2.0}),
    ("add_scalar", MAP, 1, {}, {"scalar": 3.0}),
    ("mul_scalar", MAP, 1, {}, {"scalar": -2.0}),
    ("prelu", MAP, 1, {"weight": (8,)}, {}),
    ("prelu", MAP, 1, {"weight": (1,)}, {}),
    ("max_pool2d", MAP, 1, {}, {**POOL, "padding": (1, 1, 1, 1)}),
    ("max_pool2d", MAP, 1, {}, {**POOL, "padding": (0, 0, 2, 1)}),
    ("max_pool2d", MAP, 1, {}, {**POOL, "ceil_mode": True, "dilation": (2, 2)}),
    ("avg_pool2d", MAP, 1, {}, {**POOL, "ceil_mode": True, "padding": (1, 1, 1, 1)}),
    ("avg_pool2d", MAP, 1, {}, {**POOL, "padding": (0, 1, 2, 0), "count_include_pad": False}),
    ("avg_pool2d", MAP, 1, {}, {**POOL, "padding": (0, 1, 2, 0)}),
    ("adaptive_avg_pool2d", MAP, 1, {}, {"output_size": (1, 1)}),
    ("adaptive_avg_pool2d", MAP, 1, {}, {"output_size": (3, 4)}),
    ("adaptive_max_pool2d", MAP, 1, {}, {"output_size": (1, 1)}),
    ("adaptive_max_pool2d", MAP, 1, {}, {"output_size": (2, 5)}),
    ("interpolate", MAP, 1, {}, {"size": (14, 3)}),
    ("interpolate", MAP, 1, {}, {"size": (5, 9), "mode": "nearest-exact"}),
    ("interpolate", MAP, 1, {}, {"size": (5, 9), "mode": "bilinear"}),
    ("interpolate", MAP, 1, {}, {"size": (14, 3), "mode": "bicubic", "align_corners": True}),
    *(
        (op, MAP, 1, {}, {"dim": dim, "keepdim": keep})
        for op in ("mean", "sum", "amax")
        for dim in ((1, 2), (0,))
        for keep in (False, True)
    ),
    ("mean", VECTOR, 1, {}, {"dim": (0,)}),
    ("flatten", MAP, 1, {}, {}),
    ("reshape", MAP, 1, {}, {"shape": (4, 12, 7)}),
    ("permute", MAP, 1, {}, {"dims": (2, 0, 1)}),
    ("cat", MAP, 3, {}, {"dim": 0}),
    ("cat", MAP, 2, {}, {"dim": 2}),
    ("slice", MAP, 1, {}, {"dim": 0, "start": 1, "end": 8, "step": 3}),
    ("slice", MAP, 1, {}, {"dim": 1, "start": 2, "end": 7}),
    ("select", MAP, 1, {}, {"dim": 0, "index": 3}),
    ("select", MAP, 1, {}, {"dim": 2, "index": 5}),
    ("expand", (1, 7, 6), 1, {}, {"shape": (4, 7, 6)}),
    ("roll", MAP, 1, {}, {"shifts": (1, -2), "dims": (0, 2)}),
    ("pad", MAP, 1, {}, {"pad": (0, 4, 1, 0, -1, 2)}),
    ("pad", MAP, 1, {}, {"pad": (0, 0, 1, 0, 0, 2), "value": -1.0}),
    ("channel_shuffle", MAP, 1, {}, {"groups": 2}),
    ("softmax", MAP, 1, {}, {"dim": 0}),
    ("log_softmax", VECTOR, 1, {}, {"dim": 0}),
    ("parameter", VECTOR, 0, {"value": (3, 4)}, {"channel_axis": 1}),
]
CASES += [
    (name, MAP, kind.num_inputs[0], {}, {})
    for name, kind in VOCABULARY.items()
    if name not in {case[0] for case in CASES}
]


def test_every_entry_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(VOCABULARY)


def _graph(builder: Any, case: Case, varied: str | None) -> tuple[Any, str]:
    """The operation on the images (``None``), or on values that differ from network to network: folded or stacked."""
    op, shape, count, shapes, attributes = case
    make = builder(shape if len(shape) != 2 else (shape[0] * shape[1],))
    site = INPUT
    if len(shape) == 2:
        site = make.add("reshape", site, shape=shape)
    if varied == "folded" and len(shape) == 3:
        site = make.shaped("conv2d", site, shapes={"weight": (shape[0], shape[0], 1, 1)})
    elif varied == "stacked":
        site = make.shaped("linear", site, shapes={"weight": (shape[-1], shape[-1])})
    if op in ("sqrt", "log"):
        site = make.add("abs", site)
    sites = [site, *(make.add("mul_scalar", site, scalar=1.5 - 0.25 * index) for index in range(1, count))][:count]
    output = make.shaped(op, *sites, shapes=shapes, **attributes)
    return make, output


@pytest.mark.parametrize("varied", [None, "folded", "stacked"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[4]}")
def test_many_networks_give_what_each_gives(
    case: Case, varied: str | None, builder: Any, draw_networks: DrawNetworks
) -> None:
    make, output = _graph(builder, case, varied)
    make.parameter("spare", (1,))
    spare = make.add("reshape", make.add("parameter", parameters={"value": "spare"}), shape=(1,))
    graph = make.graph(output)
    if not graph.shapes:
        graph = make.graph(_kept_by(make, output, spare))
    networks = draw_networks(graph, 3)
    generator = torch.Generator().manual_seed(1)
    for sizes in ((4,), (3, 4)):
        images = torch.randn(*sizes, *graph.input_shape, generator=generator, dtype=torch.float64)
        ours = values_at(networks, images, [output])[output]
        assert ours.shape == (3, 4, *graph.sites[output].shape)
        for index, one in enumerate(networks):
            alone = values_at(one, images if len(sizes) == 1 else images[index], [output])[output]
            torch.testing.assert_close(ours[index], alone[0], rtol=1e-12, atol=1e-12)


def _kept_by(make: Any, output: str, spare: str) -> str:
    """A site that needs both, so that the graph has a parameter."""
    flat = make.add("flatten", output)
    return str(make.add("cat", flat, spare, dim=0))


@pytest.mark.parametrize("case", [case for case in CASES if case[2] <= 1], ids=lambda case: f"{case[0]}-{case[4]}")
def test_gradients_flow_for_many_networks(case: Case, builder: Any, draw_networks: DrawNetworks) -> None:
    make, output = _graph(builder, case, "stacked")
    graph = make.graph(output)
    flat = draw_networks(graph, 2).flat().requires_grad_()
    images = torch.randn(3, *graph.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = run(Networks.from_flat(graph, flat), images)
    alone = torch.cat([run(one, images) for one in Networks.from_flat(graph, flat)])
    target = torch.randn(together.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((result * target).sum(), flat)[0] for result in (together, alone))
    assert ours.abs().max() > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


TORCH: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "softplus": nn.Softplus(),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": nn.Hardsigmoid(),
    "sigmoid": nn.Sigmoid(),
    "log_sigmoid": nn.LogSigmoid(),
    "tanh": torch.tanh,
    "sin": torch.sin,
    "exp": torch.exp,
    "abs": torch.abs,
    "flatten": nn.Flatten(),
}


@pytest.mark.parametrize("name", TORCH)
def test_agrees_with_torch(name: str, builder: Any, draw_networks: DrawNetworks) -> None:
    make = builder((6,))
    site = make.add(name, make.shaped("linear", INPUT, shapes={"weight": (6, 6)}))
    networks = draw_networks(make.graph(site), 1)
    images = 4 * torch.randn(50, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (weight,) = networks.parameters.values()
    torch.testing.assert_close(run(networks, images)[0], TORCH[name](images @ weight[0].T), rtol=1e-12, atol=1e-14)


def test_two_sites_are_put_together_as_torch_does(builder: Any, draw_networks: DrawNetworks) -> None:
    images = torch.randn(4, 8, 7, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for name in ("add", "sub", "mul", "div", "maximum", "minimum"):
        make = builder(MAP)
        first = make.shaped("conv2d", INPUT, shapes={"weight": (8, 1, 1, 1)}, groups=8)
        column = make.add("amax", first, dim=(0,), keepdim=True)
        for one, other in ((first, column), (column, first), (first, INPUT)):
            networks = draw_networks(make.graph(make.add(name, one, other)), 2)
            for index, network in enumerate(networks):
                maps = images * network.parameters["conv2d0.weight"].view(8, 1, 1)
                tensors = {first: maps, column: maps.amax(1, keepdim=True), INPUT: images}
                theirs = getattr(torch, name)(tensors[one], tensors[other])
                torch.testing.assert_close(run(networks, images)[index], theirs, rtol=1e-12, atol=1e-12)


def test_padding_that_differs_from_side_to_side(builder: Any, draw_networks: DrawNetworks) -> None:
    images = torch.randn(2, 8, 7, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    make = builder(MAP)
    same = make.add("parameter", parameters={"value": make.parameter("unused", (1, 1, 1))})
    largest = make.add("max_pool2d", INPUT, kernel_size=(3, 3), padding=(0, 2, 1, 0))
    mean = make.add("avg_pool2d", INPUT, kernel_size=(3, 3), padding=(0, 2, 1, 0), count_include_pad=False)
    graph = make.graph(make.add("mul", make.add("cat", largest, mean, dim=0), same))
    values = values_at(draw_networks(graph, 1), images, [largest, mean])
    padded = functional.pad(images, (2, 0, 0, 1), value=torch.nan).unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    assert torch.equal(values[largest][0], padded.nan_to_num(-torch.inf).amax(4))
    torch.testing.assert_close(values[mean][0], padded.nanmean(4), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", range(4, 12))
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooled_sizes_are_torchs(size: int, ceil_mode: bool, padding: int, builder: Any) -> None:
    for kernel, stride in ((2, 2), (3, 2), (2, 3), (3, 3), (2, 1)):
        make = builder((1, size, size))
        both = {"kernel_size": (kernel,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 4}
        site = make.site(make.add("max_pool2d", INPUT, **both, ceil_mode=ceil_mode))
        theirs = functional.max_pool2d(torch.zeros(1, 1, size, size), kernel, stride, padding, ceil_mode=ceil_mode)
        assert site.shape == tuple(theirs.shape[1:])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            ("conv2d", MAP, 1, {"weight": (4, 8, 9, 3)}, {}),
            r"its 9×3 window does not fit a map of 7×6 with the padding",
        ),
        (("conv2d", MAP, 1, {"weight": (4, 3, 3, 3)}, {"groups": 2}), r"in 2 groups reads 6 channels, but 8 come in"),
        (("conv2d", MAP, 1, {"weight": (3, 4, 3, 3)}, {"groups": 2}), "3 output channels cannot be dealt to 2 groups"),
        (("conv2d", VECTOR, 1, {"weight": (3, 4, 3, 3)}, {}), r"reads a map .*, but what comes in is \[10\]"),
        (
            ("conv2d", MAP, 1, {"weight": (3, 8, 3)}, {}),
            r"must have the shape \[out, in, height, width\], got \[3, 8, 3\]",
        ),
        (("conv2d", MAP, 1, {"weight": (3, 8, 3, 3), "bias": (4,)}, {}), r"the bias must have the shape \[3\].* \[4\]"),
        (("linear", VECTOR, 1, {"weight": (3, 4)}, {}), r"reads 4 features, but what comes in is \[10\], 10 features"),
        (
            ("batch_norm", MAP, 1, {"running_mean": (3,), "running_var": (8,)}, {}),
            r"the running mean .* \[8\].* got \[3",
        ),
        (("group_norm", MAP, 1, {}, {"num_groups": 3}), "8 channels cannot be dealt to 3 groups"),
        (
            ("layer_norm", MAP, 1, {}, {"normalized_shape": (7,)}),
            r"normalizes axes of \[7\], but what comes in is \[8, 7",
        ),
        (("max_pool2d", MAP, 1, {}, {"kernel_size": (2, 2), "padding": (2, 0, 2, 0)}), "must be less than the window"),
        (
            ("avg_pool2d", MAP, 1, {}, {**POOL, "padding": (1, 0, 0, 0), "ceil_mode": True}),
            "opposite sides padded alike",
        ),
        (("interpolate", VECTOR, 1, {}, {"size": (2, 2)}), r"reads a map \(channels, height, width\)"),
        (
            ("interpolate", MAP, 1, {}, {"size": (2, 2), "align_corners": True}),
            "align_corners has no meaning with the mode 'nearest'",
        ),
        (("mean", MAP, 1, {}, {"dim": (3,)}), r"its axes must be different ones of \[8, 7, 6\]"),
        (("reshape", MAP, 1, {}, {"shape": (5, 5)}), r"\[8, 7, 6\] has 336 numbers and \[5, 5\] 25"),
        (("permute", MAP, 1, {}, {"dims": (0, 1)}), r"must name each axis of \[8, 7, 6\] once"),
        (("slice", MAP, 1, {}, {"dim": 0, "start": 2, "end": 9}), "entries 2 to 9 are not within axis 0"),
        (("select", MAP, 1, {}, {"dim": 0, "index": 8}), "entry 8 is not within axis 0"),
        (("softmax", VECTOR, 1, {}, {"dim": 1}), r"its axis must be one of \[10\]"),
        (("prelu", MAP, 1, {"weight": (7,)}, {}), r"must hold 1 slope or one for each of the channels of \[8, 7, 6\]"),
        (("pad", MAP, 1, {}, {"pad": (1, 1)}), r"\(before, after\) for each axis of \[8, 7, 6\]"),
        (("channel_shuffle", MAP, 1, {}, {"groups": 3}), r"the first axis of \[8, 7, 6\] cannot be dealt to 3 groups"),
        (("expand", MAP, 1, {}, {"shape": (16, 7, 6)}), r"\[8, 7, 6\] cannot be repeated to \[16, 7, 6\]"),
        (("matmul", MAP, 2, {}, {}), r"a product needs .*, got \[8, 7, 6\] and \[8, 7, 6\]"),
        (("roll", MAP, 1, {}, {"shifts": (1,), "dims": (0, 1)}), "one shift for each of its axes"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_does_not_fit_is_refused(case: Case, message: str, builder: Any) -> None:
    with pytest.raises(ZoovetError, match=f"{case[0]} '.*': .*{message}"):
        _graph(builder, case, None)


def test_sites_that_do_not_fit_one_another_are_refused(builder: Any) -> None:
    make = builder(MAP)
    half = make.add("slice", INPUT, dim=0, start=0, end=4)
    with pytest.raises(ZoovetError, match=r"the inputs do not fit: \[8, 7, 6\] and \[4, 7, 6\]"):
        make.add("add", INPUT, half)
    with pytest.raises(ZoovetError, match=r"as many axes, got \[8, 7, 6\] and \[336\]; reshape one"):
        make.add("mul", INPUT, make.add("flatten", INPUT))
    with pytest.raises(ZoovetError, match=r"joined along axis 1 must agree on the others, got \[8, 7, 6\] and \[4, 7"):
        make.add("cat", INPUT, half, dim=1)
    with pytest.raises(ZoovetError, match=r"attention needs queries .*, got \[8, 7, 6\], \[4, 7, 6\]"):
        make.add("scaled_dot_product_attention", INPUT, half, half)

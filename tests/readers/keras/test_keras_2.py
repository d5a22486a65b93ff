"""Files in the layout of Keras 2, written here by h5py, against torch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoovet.errors import ZoovetError
from zoovet.networks import SCALING_PRESETS, run
from zoovet.readers.keras import read_keras

h5py = pytest.importorskip("h5py")

Weights = Mapping[str, Sequence[tuple[str, np.ndarray]]]


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _write_h5(path: Path, model: Any, weights: Weights) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.4.0"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(model).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, tensors in weights.items():
            own = group.create_group(layer)
            own.attrs["weight_names"] = np.array([name.encode() for name, _ in tensors], dtype="S")
            for name, numbers in tensors:
                own.create_dataset(name, data=numbers)
        file.create_group("optimizer_weights").create_dataset("training/Adam/iter:0", data=np.int64(3))
    return path


def _entry(kind: str, name: str, *reads: str, **settings: Any) -> dict[str, Any]:
    nodes = [[[one, 0, 0, {}] for one in reads]] if reads else []
    return {"class_name": kind, "name": name, "config": {"name": name, **settings}, "inbound_nodes": nodes}


def _conv(name: str, *reads: str, **settings: Any) -> dict[str, Any]:
    defaults = {"strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1], "use_bias": True, "activation": "relu"}
    return _entry("Conv2D", name, *reads, **{**defaults, "data_format": "channels_last", **settings})


_KERNEL, _BIAS, _HEAD = _numbers(3, 3, 3, 4), _numbers(4), _numbers(4 * 6 * 6, 5)
_SEQUENTIAL = {
    "class_name": "Sequential",
    "config": {
        "name": "sequential",
        "layers": [
            _conv("conv2d", batch_input_shape=[None, 8, 8, 3], activation="hard_sigmoid"),
            _entry("Flatten", "flatten", data_format="channels_last"),
            _entry("Dense", "dense", activation="linear", use_bias=False),
        ],
    },
}
_WEIGHTS: Weights = {
    "conv2d": [("conv2d/kernel:0", _KERNEL), ("conv2d/bias:0", _BIAS)],
    "flatten": [],
    "dense": [("dense/kernel:0", _HEAD)],
}
_FIRST_WEIGHTS: Weights = {"up": [], "dense": [("dense/kernel:0", _numbers(3, 5))]}


def _with_first(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer on the images, the means of what it makes, and a linear layer."""
    first = {**layer, "config": {**layer["config"], "batch_input_shape": [None, 8, 8, 3]}}
    pool = _entry("GlobalAveragePooling2D", "pool", data_format="channels_last")
    dense = _entry("Dense", "dense", activation="linear", use_bias=False)
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": [first, pool, dense]}}


_IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def _of_torch(images: Tensor) -> Tensor:
    kernel, bias = torch.from_numpy(_KERNEL).permute(3, 2, 0, 1), torch.from_numpy(_BIAS)
    hidden = (functional.conv2d(images, kernel, bias) * 0.2 + 0.5).clamp(0, 1)
    return hidden.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(_HEAD)


def _answers(path: Path, images: Tensor = _IMAGES) -> Tensor:
    return run(read_keras(path).networks, images)[0]


def test_sequential(tmp_path: Path) -> None:
    """The hard sigmoid of Keras 2 is another than that of Keras 3."""
    path = _write_h5(tmp_path / "model.h5", _SEQUENTIAL, _WEIGHTS)
    torch.testing.assert_close(_answers(path), _of_torch(_IMAGES), rtol=1e-5, atol=1e-5)


def test_functional_with_tensorflow_arithmetic_and_a_model_within(tmp_path: Path) -> None:
    inner = {
        "name": "inner",
        "layers": [
            _entry("InputLayer", "input_2", batch_input_shape=[None, 8, 8, 3]),
            _conv("conv", "input_2"),
            _entry("BatchNormalization", "bn", "conv", axis=[3], epsilon=0.001, scale=True, center=True),
        ],
        "input_layers": [["input_2", 0, 0]],
        "output_layers": [["bn", 0, 0]],
    }
    divide = {"class_name": "TFOpLambda", "name": "tf.math.truediv", "config": {"function": "math.truediv"}}
    minus = {"class_name": "TFOpLambda", "name": "tf.math.subtract", "config": {"function": "math.subtract"}}
    layers = [
        _entry("InputLayer", "input_1", batch_input_shape=[None, 8, 8, 3]),
        {**divide, "inbound_nodes": [["input_1", 0, 0, {"y": 127.5, "name": None}]]},
        {**minus, "inbound_nodes": [["tf.math.truediv", 0, 0, {"y": 1.0, "name": None}]]},
        {**_entry("Functional", "inner", "tf.math.subtract"), "config": inner},
        _entry("GlobalAveragePooling2D", "pool", "inner", data_format="channels_last"),
        _entry("Dense", "dense", "pool", activation="linear", use_bias=False),
    ]
    model = {
        "class_name": "Functional",
        "config": {
            "name": "m",
            "layers": layers,
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [["dense", 0, 0]],
        },
    }
    norm = {name: np.abs(_numbers(4)) + number for number, name in enumerate(("gamma", "beta", "mean", "variance"))}
    head = _numbers(4, 5)
    weights: Weights = {
        "inner": [
            ("conv/kernel:0", _KERNEL),
            ("conv/bias:0", _BIAS),
            ("bn/gamma:0", norm["gamma"]),
            ("bn/beta:0", norm["beta"]),
            ("bn/moving_mean:0", norm["mean"]),
            ("bn/moving_variance:0", norm["variance"]),
        ],
        "dense": [("dense/kernel:0", head)],
    }
    path = _write_h5(tmp_path / "model.h5", model, weights)
    assert read_keras(path).networks.graph.input_scaling == SCALING_PRESETS["symmetric"]
    kernel = torch.from_numpy(_KERNEL).permute(3, 2, 0, 1)
    hidden = functional.conv2d(_IMAGES, kernel, torch.from_numpy(_BIAS)).relu()
    moments = [torch.from_numpy(norm[name]) for name in ("mean", "variance", "gamma", "beta")]
    hidden = functional.batch_norm(hidden, *moments, eps=0.001).mean((2, 3))
    torch.testing.assert_close(_answers(path), hidden @ torch.from_numpy(head), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("root", ["_layer_checkpoint_dependencies", "layers"])
def test_keras_files_of_tensorflow_2(tmp_path: Path, root: str) -> None:
    hdf5, path = io.BytesIO(), tmp_path / "model.keras"
    with h5py.File(hdf5, "w") as file:
        for name, tensors in _WEIGHTS.items():
            own = file.create_group(f"{root}/{name}/vars")
            for number, (_, numbers) in enumerate(tensors):
                own.create_dataset(str(number), data=numbers)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.12.0"}))
        archive.writestr("config.json", json.dumps(_SEQUENTIAL))
        archive.writestr("model.weights.h5", hdf5.getvalue())
    torch.testing.assert_close(_answers(path), _of_torch(_IMAGES), rtol=1e-5, atol=1e-5)


def test_numbers_beyond_float32(tmp_path: Path) -> None:
    large = {**_WEIGHTS, "dense": [("dense/kernel:0", _HEAD.astype(np.float64) * 1e300)]}
    with pytest.raises(ZoovetError, match=r"dense/dense/kernel:0' has numbers beyond the range of float32$"):
        read_keras(_write_h5(tmp_path / "model.h5", _SEQUENTIAL, large))


def test_a_kernel_for_another_size_says_both(tmp_path: Path) -> None:
    other = {**_WEIGHTS, "dense": [("dense/kernel:0", _numbers(100, 5))]}
    with pytest.raises(ZoovetError, match=r"its kernel reads 100 features, but 6×6×4 come in, layer 'dense'$"):
        read_keras(_write_h5(tmp_path / "model.h5", _SEQUENTIAL, other))


def test_a_tensor_too_few_or_too_many_is_said(tmp_path: Path) -> None:
    few = {**_WEIGHTS, "dense": []}
    with pytest.raises(ZoovetError, match=r"Dense has no kernel in the file, layer 'dense'$"):
        read_keras(_write_h5(tmp_path / "few.h5", _SEQUENTIAL, few))
    many = {**_WEIGHTS, "flatten": [("flatten/kernel:0", _BIAS)]}
    with pytest.raises(ZoovetError, match=r"Flatten has 1 tensor more than it reads, layer 'flatten'$"):
        read_keras(_write_h5(tmp_path / "many.h5", _SEQUENTIAL, many))


def test_channels_along_different_axes(tmp_path: Path) -> None:
    pool = _entry("MaxPooling2D", "pool", pool_size=[2, 2], data_format="channels_first")
    layers = [_SEQUENTIAL["config"]["layers"][0], pool, *_SEQUENTIAL["config"]["layers"][1:]]
    model = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with pytest.raises(ZoovetError, match=r"layer 'conv2d' and layer 'pool' have their channels along different axes$"):
        read_keras(_write_h5(tmp_path / "model.h5", model, _WEIGHTS))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Conv2DTranspose", "Conv2DTranspose is not in the vocabulary of graphs, layer 'x'"),
        ("UpSampling2D", r"UpSampling2D reads \[5\], expected is a map of three axes, layer 'x'"),
        ("Lambda", "Lambda is code in the file, which is never run, layer 'x'"),
        ("TFOpLambda", "TFOpLambda is code in the file"),
    ],
)
def test_layers_beyond_the_vocabulary_are_named(tmp_path: Path, kind: str, said: str) -> None:
    layers = [*_SEQUENTIAL["config"]["layers"], _entry(kind, "x", function="nn.something")]
    model = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    with pytest.raises(ZoovetError, match=said):
        read_keras(_write_h5(tmp_path / "model.h5", model, _WEIGHTS))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (_entry("UpSampling2D", "up", size=[2, 3], interpolation="nearest"), {"size": (16, 24)}),
        (_entry("UpSampling2D", "up", size=[2, 1], interpolation="bilinear"), {"size": (16, 8), "mode": "bilinear"}),
        (_entry("Resizing", "up", height=5, width=9), {"size": (5, 9), "mode": "bilinear"}),
        (_entry("Resizing", "up", height=16, width=8, interpolation="nearest"), {"size": (16, 8)}),
    ],
)
def test_maps_that_are_resized(tmp_path: Path, layer: dict[str, Any], expected: dict[str, Any]) -> None:
    path = _write_h5(
        tmp_path / "model.h5", _with_first(layer), {"up": [], "dense": [("dense/kernel:0", _numbers(3, 5))]}
    )
    means = functional.interpolate(_IMAGES, **expected).mean((2, 3))
    torch.testing.assert_close(_answers(path), means @ torch.from_numpy(_numbers(3, 5)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interpolation": "bicubic"}, "interpolates by 'bicubic'; nearest and bilinear are known"),
        ({"interpolation": "nearest"}, "takes the nearest of places that do not repeat evenly"),
        ({"crop_to_aspect_ratio": True}, "keeps the ratio of height and width"),
        ({"antialias": True}, "smooths before it resizes"),
    ],
)
def test_other_ways_to_resize_are_said(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    layer = _entry("Resizing", "up", height=5, width=9, **settings)
    path = _write_h5(
        tmp_path / "model.h5", _with_first(layer), {"up": [], "dense": [("dense/kernel:0", _numbers(3, 5))]}
    )
    with pytest.raises(ZoovetError, match=rf"Resizing {message}"):
        read_keras(path)

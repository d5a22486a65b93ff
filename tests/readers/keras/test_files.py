"""Keras files against what Keras 3.15 (torch backend) answered; the files and answers lie in one small archive."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import zoovet
from zoovet.errors import ZoovetError
from zoovet.networks.batch import Networks
from zoovet.networks.run import run
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.keras import read_keras

h5py = pytest.importorskip("h5py")
ARCHIVE = Path(__file__).parents[2] / "data" / "keras_files.npz"


@pytest.fixture(scope="module")
def archive() -> dict[str, np.ndarray]:
    with np.load(ARCHIVE) as file:
        return dict(file)


def _written(folder: Path, archive: dict[str, np.ndarray], name: str, ending: str) -> Path:
    path = folder / f"{name}.{ending}"
    path.write_bytes(archive[f"{name}_{ending}"].tobytes())
    return path


def _with_config(path: Path, change: tuple[str, str]) -> Path:
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    text = entries["config.json"].decode().replace(*change)
    assert json.loads(text) != json.loads(entries["config.json"])
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, text if name == "config.json" else data)
    return path


def _logits(networks: Networks, images: torch.Tensor) -> torch.Tensor:
    scaling = networks.graph.input_scaling
    return run(networks, images if scaling is None else scaling.apply(images.byte()))[0]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("name", ["functional", "sequential"])
def test_it_answers_as_keras_does(tmp_path: Path, archive: dict[str, np.ndarray], name: str, ending: str) -> None:
    networks = read_keras(_written(tmp_path, archive, name, ending)).networks
    expected = torch.from_numpy(archive[name])
    found = _logits(networks, torch.from_numpy(archive["images"]))
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
    assert (networks.graph.input_scaling is not None) == (name == "functional")


def test_of_several_outputs_one_is_chosen(tmp_path: Path, archive: dict[str, np.ndarray]) -> None:
    path = _written(tmp_path, archive, "functional", "keras")
    whole = zoovet.read(path)
    both = '"output_layers": [["dense", 0, 0], ["dense_1", 0, 0]]'
    _with_config(path, ('"output_layers": ["dense_1", 0, 0]', both))
    with pytest.raises(ZoovetError, match=r"answers 2 things for an image .*: say which .*--output"):
        zoovet.read(path)
    images = zoovet.Images.from_arrays(archive["images"].transpose(0, 2, 3, 1).astype(np.uint8))
    last = zoovet.read(path, output=1)
    assert torch.equal(last.logits(images), whole.logits(images))
    assert zoovet.read(path, output=0).logits(images).shape != last.logits(images).shape
    with pytest.raises(ZoovetError, match="output must lie in 0 to 1, got 2"):
        zoovet.read(path, output=2)


def test_an_average_leaves_uneven_padding_out(tmp_path: Path, archive: dict[str, np.ndarray]) -> None:
    """By hand: Keras' torch backend repeats the edge there, TensorFlow, which wrote most files, leaves it out."""
    images = torch.randn(2, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    rows, columns = (-1, 1, 3), (0, 2, 4)  # windows begin here: 5 rows lack 2, 6 columns lack 1
    means = torch.stack(
        [images[:, :, max(row, 0) : row + 3, column : column + 3].mean((2, 3)) for row in rows for column in columns]
    )
    networks = read_keras(_written(tmp_path, archive, "pooled", "keras")).networks
    assert torch.allclose(_logits(networks, images), means.amax(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"class_name": "Flatten"', '"class_name": "Lambda"'), "code in the file, which is never run"),
        (('"class_name": "Flatten"', '"class_name": "Mine\\u001b"'), "Mine\\x1b is not in the vocabulary"),
        (("[null, 11, 12, 3]", "[null, null, null, 3]"), "input_shape=(3, 32, 32)"),
        (('"name": "elu"', '"name": "flatten"'), "the same name"),
        (('"data_format": "channels_last"', '"data_format": "channels_first"'), "reads 3 channels, but 11 come in"),
    ],
)
def test_what_is_not_read_says_why(
    tmp_path: Path, archive: dict[str, np.ndarray], change: tuple[str, str], said: str
) -> None:
    path = _with_config(_written(tmp_path, archive, "functional", "keras"), change)
    with pytest.raises(ZoovetError) as error:
        read_keras(path)
    assert said in str(error.value)
    assert not {"\x1b", "\n"} & set(str(error.value))


def test_code_is_an_unknown_operation(tmp_path: Path, archive: dict[str, np.ndarray]) -> None:
    change = ('"class_name": "Flatten"', '"class_name": "Lambda"')
    with pytest.raises(UnknownOperation, match="Lambda"):
        read_keras(_with_config(_written(tmp_path, archive, "functional", "keras"), change))


@pytest.mark.parametrize("kind", ["link", "soft link", "filter", "claim"])
def test_numbers_from_elsewhere_are_refused(tmp_path: Path, archive: dict[str, np.ndarray], kind: str) -> None:
    path = _written(tmp_path, archive, "sequential", "h5")
    with h5py.File(path, "r+") as file:
        layer = file["model_weights"][next(name for name in file["model_weights"] if "conv2d" in name)]
        name = layer.attrs["weight_names"][0]
        name = name.decode() if isinstance(name, bytes) else name
        numbers = layer[name][()]
        del layer[name]
        if kind == "filter":
            layer.create_dataset(name, data=numbers, compression="lzf")
        elif kind == "claim":
            layer.create_dataset(name, shape=(2**13, 2**13), dtype="float32")
        else:
            layer[name] = h5py.ExternalLink("other.h5", "/x") if kind == "link" else h5py.SoftLink("/keras_version")
    with pytest.raises(ZoovetError, match={"filter": "by a filter", "claim": "more numbers than"}.get(kind, "link to")):
        read_keras(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04rest", b"\x89HDF\r\n\x1a\nrest", b"text"])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.keras"
    path.write_bytes(data)
    with pytest.raises(ZoovetError) as error:
        read_keras(path)
    assert "\n" not in str(error.value)


def test_weights_without_layers_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w"):
        pass
    path = tmp_path / "weights.h5"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ZoovetError, match="save the whole model"):
        read_keras(path)

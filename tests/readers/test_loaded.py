from __future__ import annotations

import argparse
import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoovet.readers.loaded import ForeignObject
from zoovet.readers.opening import load_file


def loaded(path: Path, value: Any, **options: Any) -> Any:
    torch.save(value, path, **options)
    return load_file(path).data


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zip_format", [True, False])
def test_what_torch_saves_comes_back(tmp_path: Path, protocol: int, zip_format: bool) -> None:
    value = {
        "numbers": [1, -1, 2**40, 0.5, float("inf"), True, None, "ü\x00", b"abc", 1 + 2j],
        "tuple": (1, (2, 3, 4, 5), ()),
        "ordered": collections.OrderedDict(a=1, b=2),
        "default": collections.defaultdict(list, {"x": [1]}),
        "counter": collections.Counter("aab"),
        5: "an integer key",
        None: "no key",
        "size": torch.Size([1, 2]),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }
    back = loaded(tmp_path / "a.pt", value, pickle_protocol=protocol, _use_new_zipfile_serialization=zip_format)
    assert back["numbers"] == value["numbers"]
    assert back["tuple"] == [1, [2, 3, 4, 5], []]
    assert back["ordered"] == {"a": 1, "b": 2}
    assert back["default"] == {"x": [1]}
    assert back["counter"] == {"a": 2, "b": 1}
    assert (back[5], back[None], back["size"]) == ("an integer key", "no key", [1, 2])
    assert torch.equal(back["optimizer"]["state"][0]["exp_avg"], torch.ones(2))


@pytest.mark.parametrize("protocol", [2, 5])
def test_numpy(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "plain": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
        "bool": np.array([True, False]),
        "complex": np.array([1j]),
        "empty": np.zeros((0, 3), np.float32),
    }
    scalars = {"float": np.float64(0.5), "int": np.int16(-3), "half": np.float16(1.5), "bool": np.bool_(True)}
    others = {"texts": np.array(["a"]), "objects": np.array([1, "x"], dtype=object), "dtype": np.dtype("f4")}
    back = loaded(tmp_path / "a.pt", {"arrays": arrays, "scalars": scalars, **others}, pickle_protocol=protocol)
    for name, array in arrays.items():
        assert np.array_equal(back["arrays"][name], array)
        assert back["arrays"][name].shape == array.shape
    assert back["scalars"] == {"float": 0.5, "int": -3, "half": 1.5, "bool": True}
    assert all(isinstance(back[name], ForeignObject) for name in others)


def test_harmless_objects_are_remembered_by_name(tmp_path: Path) -> None:
    back = loaded(tmp_path / "a.pt", {"args": argparse.Namespace(lr=0.1, sub=[1]), "path": Path("a") / "b"})
    assert (back["args"].name, back["args"].content) == ("argparse.Namespace", {"lr": 0.1, "sub": [1]})
    assert back["path"].content == ["a", "b"]
    assert str(back["path"]) == "pathlib.PosixPath"


@pytest.mark.parametrize("zip_format", [True, False])
def test_views_of_storages(tmp_path: Path, zip_format: bool) -> None:
    base = torch.arange(12.0)
    value = {
        "transposed": base.view(3, 4).t(),
        "strided": base[1::3],
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
        "negative": torch.conj(torch.complex(base, base)).imag,
        "parameter": torch.nn.Parameter(base),
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "float64": base.double(),
        "integers": base.long(),
        "booleans": base > 3,
        "complex": torch.complex(base, base).conj(),
    }
    back = loaded(tmp_path / "a.pt", value, _use_new_zipfile_serialization=zip_format)
    for name, tensor in value.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name].resolve_conj(), tensor.detach().resolve_conj().resolve_neg()), name
        assert not back[name].requires_grad


def test_numbers_of_another_byte_order(tmp_path: Path) -> None:
    """A file as a big-endian machine writes it."""
    torch.save({"a": torch.arange(4.0), "c": torch.tensor([1 + 2j])}, tmp_path / "a.pt")
    stream = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "a.pt") as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if "/data/" in name:
                data = np.frombuffer(data, np.uint32).byteswap().tobytes()
            target.writestr(name, b"big" if name.endswith("byteorder") else data)
    (tmp_path / "a.pt").write_bytes(stream.getvalue())
    back = load_file(tmp_path / "a.pt").data
    assert torch.equal(back["a"], torch.arange(4.0))
    assert torch.equal(back["c"], torch.tensor([1 + 2j]))


def test_large_files_are_mapped(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[33554432],"data_offsets":[0,134217728]}}'
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**27 - 4)
        file.seek(0, 2)
        file.write(struct.pack("<f", 2.5))
    tensor = load_file(tmp_path / "a.safetensors").data["a"]
    assert tensor.shape == (2**25,)
    assert tensor[-1] == 2.5


def test_python_2_wrote_texts_as_bytes(tmp_path: Path) -> None:
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    root = b"\x80\x02}(U\x05epochK\x03U\x01aF1.5\nu."
    (tmp_path / "a.pt").write_bytes(head + root + pickle.dumps([], 2))
    assert load_file(tmp_path / "a.pt").data == {"epoch": 3, "a": 1.5}

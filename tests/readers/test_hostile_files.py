"""Files that were made to run code, to break their readers, or to write to the terminal: one short line each."""

from __future__ import annotations

import builtins
import functools
import io
import os
import pickle
import shutil
import struct
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoovet.errors import ZoovetError
from zoovet.readers import read_content

LINE = 300
SECONDS = 3.0


class Call:
    """A pickle of this calls a function when it is loaded without care."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Settings:
    """A class of somebody's project."""


def zipped(data: bytes, *more: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in (("a/data.pkl", data), ("a/version", b"3\n"), *more):
            archive.writestr(name, content)
    return stream.getvalue()


def legacy(data: bytes, keys: tuple[str, ...] = (), tail: bytes = b"") -> bytes:
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(value, 2) for value in head) + data + pickle.dumps(list(keys), 2) + tail


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(count: int, offset: int, shape: list[int], stride: list[int], dtype: str = "Float") -> bytes:
    """A pickle's operations for a tensor of storage 0."""
    of = named("torch", f"{dtype}Storage")
    storage = b"(" + text("storage") + of + text("0") + text("cpu") + number(count) + b"tQ"
    sizes = b"".join(b"(" + b"".join(map(number, values)) + b"t" for values in (shape, stride))
    hooks = b"\x89" + named("collections", "OrderedDict") + b")R"
    return named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + number(offset) + sizes + hooks + b"tR"


def holding(value: bytes, key: str = "a.weight") -> bytes:
    return b"\x80\x02}" + text(key) + value + b"s."


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def described(shape: str = "[4]", offsets: str = "[0,16]", dtype: str = '"F32"', name: str = "a") -> bytes:
    return f'{{"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}}}'.encode()


def twice(steps: int) -> bytes:
    """A tuple that holds the one before twice, and so on: 2 to the power of steps, written out."""
    return b"Nq\x00" + b"".join(b"0h%ch%c\x86q%c" % (step, step, step + 1) for step in range(steps))


MALICE: dict[str, tuple[Any, str]] = {
    "system": (Call(os.system, "touch ran"), "os.system"),
    "eval": (Call(builtins.eval, "open('ran', 'w')"), "builtins.eval"),
    "exec": (Call(builtins.exec, "open('ran', 'w')"), "builtins.exec"),
    "popen": (Call(subprocess.Popen, ["touch", "ran"]), "subprocess.Popen"),
    "open": (Call(open, "ran", "w"), "io.open"),
    "import": (Call(__import__, "this"), "builtins.__import__"),
    "copy": (Call(shutil.copy, "/etc/hostname", "ran"), "shutil.copy"),
    "partial": (Call(functools.partial, os.system, "touch ran"), "os.system"),
    "load": (Call(np.load, "x"), "numpy.load"),
    "hub": (Call(torch.hub.load, "x/y", "z"), "torch.hub.load"),
    "in an array": (np.array([Call(os.system, "touch ran")], dtype=object), "os.system"),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", list(MALICE))
def test_malice_is_called_malice_whatever_the_protocol(
    tmp_path: Path, name: str, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value, asked = MALICE[name]
    data = pickle.dumps({"a.weight": value}, protocol)
    path = Path("a.pt")
    for content in (data, zipped(data), legacy(data)):
        path.write_bytes(content)
        with pytest.raises(ZoovetError) as caught:
            read_content(path)
        message = str(caught.value)
        assert message.startswith("a.pt was refused and nothing in it was run: its pickle asks for '"), message
        assert asked.rpartition(".")[2] in message
        assert "as malicious files do" in message
        assert not Path("ran").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zip_format", [True, False])
def test_a_good_file_is_read_whatever_the_protocol(
    tmp_path: Path, state: dict[str, Tensor], protocol: int, zip_format: bool
) -> None:
    beside = {"score": np.float64(0.5), "index": np.arange(3), "epoch": 7, "where": Path("x")}
    torch.save({"state_dict": state, **beside}, tmp_path / "a.pt", pickle_protocol=protocol,
               _use_new_zipfile_serialization=zip_format)  # fmt: skip
    content = read_content(tmp_path / "a.pt")
    assert list(content.tensors) == list(state)
    assert all(torch.equal(content.tensors[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2)), "it holds a pickled module of class 'torch.nn.modules.container.Sequential'"),
        ({"net": nn.Linear(2, 2)}, "it holds a pickled module of class 'torch.nn.modules.linear.Linear'"),
        ({"a.weight": torch.ones(2), "config": Settings()}, "it holds an object of class '"),
        ({"a.weight": torch.ones(2), "f": getattr}, "it holds the function 'builtins.getattr'"),
    ],
)
def test_a_class_is_named_with_a_way_out(tmp_path: Path, value: Any, message: str) -> None:
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(ZoovetError) as caught:
        read_content(tmp_path / "a.pt")
    assert message in str(caught.value)
    assert str(caught.value).endswith("and save its state dict: torch.save(module.state_dict(), 'weights.pt')")


PICKLES = {
    "a tuple nested in a key": (b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"K\x01s.", "is nested|has no named"),
    "a list nested in itself": (holding(b"]q\x00h\x00a"), "is nested more than 100 deep, or holds itself"),
    "lists nested deeply": (holding(b"]" * 200_000 + b"a" * 199_999), "is nested more than 100 deep"),
    "a tuple doubled 200 times as a key": (b"\x80\x02}" + twice(200) + b"K\x01s.", "repeats parts|has no named"),
    "a tuple doubled 27 times": (holding(twice(27)), "repeats parts of itself"),
    "a set of a tuple doubled 28 times": (
        holding(named("builtins", "set") + b"](" + twice(28) + b"e\x85R"),
        "repeats parts",
    ),
    "a byte array by its size": (
        holding(named("builtins", "bytearray") + number(2**40) + b"\x85R"),
        "a byte array by its size",
    ),
    "a storage by its size": (
        holding(named("torch.storage", "UntypedStorage") + number(2**40) + b"\x85R"),
        "has no named tensors",
    ),
    "a tensor by its size": (holding(named("torch", "FloatTensor") + number(2**40) + b"\x85R"), "has no named tensors"),
    "another encoding": (
        holding(named("_codecs", "encode") + text("x") + text("zlib") + b"\x86R"),
        "asks to encode a text",
    ),
    "an operation of copyreg": (holding(b"\x82\x01"), "the operation EXT1, which weight files do not need"),
    "a call of a tensor": (holding(tensor(4, 0, [4], [1]) + b")R"), "something is called that is no function"),
    "a text without its end": (b"\x80\x02X\xff\xff\xff\xff", "damaged or truncated"),
    "a number of 2 GB": (holding(b"\x8b" + struct.pack("<i", 2**31 - 1)), "damaged or truncated"),
    "a frame of any length": (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "holds nothing"),
    "an empty stack": (b"\x80\x02.", "damaged or truncated"),
    "a memo that is not there": (b"\x80\x02h\x05.", "damaged or truncated"),
    "marks without end": (b"\x80\x02" + b"(" * 200_000 + b".", "damaged or truncated"),
    "a tensor beyond its storage": (holding(tensor(4, 2, [4], [1])), "'a.weight' reaches beyond its numbers"),
    "a storage beyond the file": (holding(tensor(2**40, 0, [4], [1])), "has fewer bytes than it should|ends before"),
    "a negative shape": (holding(tensor(4, 0, [-4], [1])), "a tensor's size makes no sense"),
    "one number for all": (holding(tensor(4, 0, [2**40], [0])), "repeats its numbers"),
    "a long name": (holding(tensor(4, 0, [4], [1]), "n" * 10**6), "has an entry with a name of 1,000,000 characters"),
    "a name with escapes": (
        holding(tensor(4, 9, [4], [1]), "\x1b[2J\nerror: b\u202e"),
        r"'\\x1b\[2J\\nerror: b\\u202e' reaches",
    ),
}


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("name", list(PICKLES))
def test_pickles_that_break_readers(tmp_path: Path, name: str, zip_format: bool) -> None:
    data, message = PICKLES[name]
    numbers = b"\0" * 16
    if zip_format:
        content = zipped(data, ("a/data/0", numbers))
    else:
        content = legacy(data, ("0",), struct.pack("<q", 4) + numbers)
    refused(tmp_path / "a.pt", content, message + ("" if zip_format else "|lists a storage that it does not use"))


def refused(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(ZoovetError, match=message) as caught:
        read_content(path)
    assert time.monotonic() - begun < SECONDS
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < LINE + len(str(path))


STORED = pickle.dumps({"a": 1}, 2)
ZIPS = {
    "compressed": (zipped(STORED, compression=zipfile.ZIP_DEFLATED), "has the compressed entry 'a/data.pkl'"),
    "zeros, compressed a thousandfold": (
        zipped(bytes(3 * 10**7), compression=zipfile.ZIP_DEFLATED),
        "has the compressed entry",
    ),
    "out of its folder": (
        zipped(STORED, ("../../etc/cron.d/x", b"x")),
        r"is unsafe: its entry '\.\./\.\./etc/cron\.d/x'",
    ),
    "from the root": (zipped(STORED, ("/etc/cron.d/x", b"x")), "is unsafe: its entry '/etc/cron.d/x'"),
    "a drive": (zipped(STORED, ("C:\\x", b"x")), "is unsafe"),
    "two files": (zipped(STORED, ("b/data.pkl", STORED)), "is a zip file of 2 files by torch.save"),
    "nothing": (b"PK\x05\x06" + b"\0" * 18, "is a zip file that torch.save did not write"),
    "the beginning": (b"PK\x03\x04" + b"\0" * 40, "is a zip file that is damaged or truncated"),
    "escapes in a name": (zipped(STORED, ("../\x1b[31m\n", b"x")), r"its entry '\.\./\\x1b\[31m\\n'"),
    "a byte order": (zipped(STORED, ("a/byteorder", b"middle")), "its byte order is neither"),
    "no storage": (zipped(holding(tensor(4, 0, [4], [1]))), "it lacks its entry 'a/data/0'"),
}


@pytest.mark.parametrize("name", list(ZIPS))
def test_unsafe_and_damaged_zips(tmp_path: Path, name: str) -> None:
    refused(tmp_path / "a.pt", *ZIPS[name])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_ambiguous_encrypted_and_changed_zips(tmp_path: Path, state: dict[str, Tensor]) -> None:
    ambiguous = zipped(STORED, ("a/data.pkl", STORED))
    refused(tmp_path / "a.pt", ambiguous, "is ambiguous: it has the entry 'a/data.pkl' 2 times")
    content = bytearray(zipped(STORED))
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    refused(tmp_path / "a.pt", bytes(content), "is encrypted")
    torch.save(state, tmp_path / "b.pt")
    content = bytearray((tmp_path / "b.pt").read_bytes())
    first = next(iter(state.values())).numpy().tobytes()
    content[content.index(first) + 2] ^= 1
    refused(tmp_path / "a.pt", bytes(content), r"its entry 'b/data/0' has another checksum than was written")


NUMBERS = b"\0" * 16
SAFETENSORS = {
    "a header beyond the file": (
        safetensors(described(), NUMBERS, 2**31),
        "its header should have 2,147,483,648 bytes",
    ),
    "no JSON": (safetensors(b"{" + b"x" * 30), "its header cannot be read"),
    "nested": (safetensors(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "its header"),
    "a name twice": (safetensors(described()[:-1] + b"," + described()[1:], NUMBERS), "a name is there twice"),
    "a negative shape": (safetensors(described("[-4]"), NUMBERS), "the shape of its tensor 'a' makes no sense"),
    "a shape of 5,000 digits": (safetensors(described(f"[{'9' * 5000}]"), NUMBERS), "its header cannot be read"),
    "another shape": (safetensors(described("[5]"), NUMBERS), "another number of bytes than its shape needs"),
    "true for a number": (safetensors(described("[true]"), NUMBERS), "makes no sense"),
    "offsets backwards": (
        safetensors(described(offsets="[16,0]"), NUMBERS),
        "the offsets of its tensor 'a' make no sense",
    ),
    "a gap": (safetensors(described(offsets="[4,20]"), NUMBERS + b"1234"), "does not begin where the one before ends"),
    "bytes left": (safetensors(described(), NUMBERS + b"more"), "have 16 bytes, but 20 follow"),
    "an unknown dtype": (safetensors(described(dtype='"F6_E2M3"'), NUMBERS), "'a' is of F6_E2M3; weights are dense"),
    "a dtype without a name": (
        safetensors(described(dtype='""'), NUMBERS),
        "'a' is of a dtype without a name; weights",
    ),
    "metadata that are no texts": (safetensors(b'{"__metadata__":{"a":1}}'), "its metadata are not texts"),
    "NaN": (safetensors(described("[NaN]"), NUMBERS), "NaN is no JSON"),
    "escapes": (safetensors(described("[5]", name="\\u001b[2J\\n"), NUMBERS), r"tensor '\\x1b\[2J\\n' has"),
}


@pytest.mark.parametrize("name", list(SAFETENSORS))
def test_damaged_safetensors(tmp_path: Path, name: str) -> None:
    refused(tmp_path / "a.safetensors", *SAFETENSORS[name])


def odd_tensors() -> dict[str, tuple[Callable[[], Tensor], str]]:
    ones = torch.ones(2, 2)
    found: dict[str, tuple[Callable[[], Tensor], str]] = {
        "meta": (lambda: ones.to("meta"), "a meta tensor, which has no numbers"),
        "sparse": (ones.to_sparse, "a sparse tensor of float32"),
        "nested": (lambda: torch.nested.nested_tensor([ones]), "a nested tensor of float32"),
        "quantized": (lambda: torch.quantize_per_tensor(ones, 0.1, 0, torch.quint8), "a quantized tensor of quint8"),
    }
    for name in ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"):
        if hasattr(torch, name):
            found[name] = (lambda name=name: ones.to(getattr(torch, name)), f"of {name}")  # type: ignore[misc]
    if hasattr(torch, "float4_e2m1fn_x2"):
        bits = torch.zeros(2, 2, dtype=torch.uint8)
        found["float4"] = (lambda: bits.view(torch.float4_e2m1fn_x2), "of float4_e2m1fn_x2")
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(odd_tensors()))
def test_tensors_that_are_no_dense_numbers_are_named(tmp_path: Path, name: str, state: dict[str, Tensor]) -> None:
    make, message = odd_tensors()[name]
    torch.save({**state, "odd.weight": make()}, tmp_path / "a.pt")
    with pytest.raises(ZoovetError, match=rf"tensor 'odd\.weight' is {message}; weights are dense real numbers"):
        read_content(tmp_path / "a.pt")

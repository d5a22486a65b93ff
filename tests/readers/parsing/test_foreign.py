from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoovet.errors import ZoovetError
from zoovet.readers import read_content


def zip_of(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return stream.getvalue()


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(__file__, "weights.pt")
    return stream.getvalue()


FORMATS = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(5000), "holds only zeros, as an unfinished download does"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer"),
    "html": (b"\n <!DOCTYPE html><html><title>404</title></html>", r"is a web page \(HTML\)"),
    "xml": (b"<?xml version='1.0'?><Error/>", "is an XML text, perhaps a server's answer"),
    "json": (b'{"error": "not found"}', "is not a weight file: it is JSON"),
    "text": ("Gewichte, später".encode(), "is not a weight file: it is a text"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x052.4.0" + bytes(64), "looks like an ONNX file, but has no graph"),
    "onnx without a producer": (b"\x08\x0a\x3a\xff\x01" + bytes(64), "looks like an ONNX file, but has no graph"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), r"is an HDF5 file that is damaged or truncated"),
    "keras": (zip_of("config.json", "metadata.json", "model.weights.h5"), r"is an HDF5 file that is damaged"),
    "keras without weights": (zip_of("config.json", "other.weights.h5"), r"is a Keras file without its entry model\.w"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(64), "is a TFLite file of version 0; version 3 is read"),
    "saved model": (b"\x08\x01\x12\x90\x05\x0a\x40" + b"serve" + bytes(64), "is a TensorFlow graph or SavedModel"),
    "graph": (b"\x0a\x20\x0a\x04conv\x12\x05Const" + bytes(64), "is a TensorFlow graph or SavedModel"),
    "core ml": (b"\x08\x05\x12\xa0\x01\x0a\x10" + bytes(64), "is a Core ML model, which is not read"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(64), "is a GGUF file of a language model"),
    "npy": (saved(lambda stream: np.save(stream, np.ones(3))), r"is a NumPy array \(\.npy\), which is not read"),
    "npz": (saved(lambda stream: np.savez(stream, a=np.ones(3))), r"is a NumPy archive \(\.npz\), which is not read"),
    "export": (zip_of("m/archive_format", "m/models/other.json"), r"is a program by torch\.export \(\.pt2\)"),
    "older export": (zip_of("serialized_exported_program.json"), r"is a program by torch\.export \(\.pt2\)"),
    "script": (zip_of("m/data.pkl", "m/constants.pkl"), r"is a TorchScript program, .* it lacks its code \(m/code"),
    "document": (zip_of("[Content_Types].xml"), "is an office document"),
    "files": (zip_of("a.pt", "b.pt"), "it is a zip file that torch.save did not write"),
    "tar": (tar(), "is a tar archive; unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(64), "is compressed by gzip; unpack it"),
    "zlib": (b"\x78\x9c\xed\xc1" + b"\x81" * 64, "is compressed by zlib, as joblib does"),
    "png": (saved(lambda stream: Image.new("L", (2, 2)).save(stream, "png")), r"is an image \(PNG\)"),
    "jpeg": (saved(lambda stream: Image.new("L", (2, 2)).save(stream, "jpeg")), r"is an image \(JPEG\)"),
    "pdf": (b"%PDF-1.7", "is a PDF document"),
    "program": (b"\x7fELF" + bytes(64), r"is a program or library \(ELF\)"),
    "script of a shell": (b"#!/bin/sh\n", "is a script, not a weight file"),
    "parquet": (b"PAR1" + bytes(64), "is a Parquet table"),
    "noise": (bytes(range(200, 256)) * 9, "is not a weight file: it begins with c8 c9 ca cb"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FORMATS))
def test_formats_are_named_whatever_the_suffix(tmp_path: Path, name: str) -> None:
    content, message = FORMATS[name]
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ZoovetError, match=rf"a\.safetensors {message}|a\.safetensors .*{message}") as caught:
        read_content(tmp_path / "a.safetensors")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_objects_by_scikit_learn_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02csklearn.linear_model._logistic\nLogisticRegression\n)\x81}b.")
    with pytest.raises(ZoovetError, match=r"it holds a scikit-learn object, an object of class 'sklearn\.linear_model"):
        read_content(tmp_path / "a.pkl")

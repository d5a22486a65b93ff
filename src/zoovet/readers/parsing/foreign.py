"""Naming files that are something else than weights by safetensors or torch.save: by what is in them, not by suffix."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zoovet.readers.parsing.refusal import EXPORT

__all__ = ["name_of_bytes", "name_of_zip"]

_FROM_TORCH = f"where it came from PyTorch, load it there and {EXPORT}"
_CONVERT = "load it with its library and save its arrays with safetensors"
_UNPACK = "unpack it and give the weight files in it"
_TENSORFLOW = f"is a TensorFlow graph or SavedModel, which is not read; {_CONVERT}"
_NUMPY = "save its arrays with safetensors.numpy.save_file"

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs.github.com/spec/", "is a Git LFS pointer, not the weights: fetch them, git lfs pull"),
    (0, b"version https://hawser.github.com/spec/", "is a Git LFS pointer, not the weights: fetch them, git lfs pull"),
    (0, b"\x93NUMPY", f"is a NumPy array (.npy), which is not read; {_NUMPY}"),
    (0, b"GGUF", f"is a GGUF file of a language model, which is not read; {_FROM_TORCH}"),
    (0, b"lmgg", f"is a GGML file of a language model, which is not read; {_FROM_TORCH}"),
    (0, b"\x1f\x8b", f"is compressed by gzip; {_UNPACK}"),
    (0, b"BZh", f"is compressed by bzip2; {_UNPACK}"),
    (0, b"\xfd7zXZ\x00", f"is compressed by xz; {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"is compressed by Zstandard; {_UNPACK}"),
    (0, b"\x04\x22\x4d\x18", f"is compressed by LZ4; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {_UNPACK}"),
    (0, b"Rar!\x1a\x07", f"is a RAR archive; {_UNPACK}"),
    (257, b"ustar", f"is a tar archive; {_UNPACK}"),
    (0, b"\x89PNG\r\n\x1a\n", "is an image (PNG), not a weight file"),
    (0, b"\xff\xd8\xff", "is an image (JPEG), not a weight file"),
    (0, b"GIF8", "is an image (GIF), not a weight file"),
    (8, b"WEBP", "is an image (WebP), not a weight file"),
    (0, b"II*\x00", "is an image (TIFF), not a weight file"),
    (0, b"MM\x00*", "is an image (TIFF), not a weight file"),
    (0, b"%PDF", "is a PDF document, not a weight file"),
    (0, b"\x7fELF", "is a program or library (ELF), not a weight file"),
    (0, b"MZ", "is a program for Windows, not a weight file"),
    (0, b"\xcf\xfa\xed\xfe", "is a program for macOS, not a weight file"),
    (0, b"#!", "is a script, not a weight file"),
    (0, b"PAR1", "is a Parquet table, not a weight file; zoos are opened by their folder"),
    (0, b"ARROW1", "is an Arrow table, not a weight file"),
    (0, b"SQLite format 3\x00", "is an SQLite database, not a weight file"),
    (0, b"MATLAB 5.0", f"is a MATLAB file, which is not read; {_CONVERT}"),
    (0, b"MATLAB 7.3", f"is a MATLAB file, which is not read; {_CONVERT}"),
)  # fmt: skip
_ONNX = "looks like an ONNX file, but has no graph: it is damaged or truncated; get it anew"
_CORE_ML = f"is a Core ML model, which is not read; {_FROM_TORCH}"
_HTML = "is a web page (HTML), as a server's error or login page saved under its name; get the file anew"


def name_of_zip(names: Sequence[str]) -> str:
    """What a zip file of other things than ``torch.save``'s is, after its name; empty where it may be ``torch.save``'s.

    Args:
        names: Of its entries.
    """
    tails = {name.partition("/")[2] for name in names}
    if "archive_format" in tails or {"serialized_exported_program.json", "serialized_state_dict.pt"} & {*names, *tails}:
        return (
            "is a program by torch.export (.pt2) of a PyTorch before 2.9, whose weights are a pickle: refused; "
            f"where you trust it, load it with torch.export.load, and save it anew or {EXPORT}"
        )
    if names and all(name.endswith(".npy") for name in names):
        return f"is a NumPy archive (.npz), which is not read; {_NUMPY}"
    if any(name.endswith(("saved_model.pb", "variables/variables.index")) for name in names):
        return f"is a zip file of a TensorFlow SavedModel, which is not read; {_CONVERT}"
    if any(".mlpackage/" in name or name.endswith(".mlmodel") for name in names):
        return f"is a zip file of a Core ML model, which is not read; {_FROM_TORCH}"
    if "[Content_Types].xml" in names:
        return "is an office document, not a weight file"
    if "META-INF/MANIFEST.MF" in names:
        return "is a Java archive, not a weight file"
    return ""


def name_of_bytes(head: bytes) -> str:
    """What a file is, after its name; empty where nothing in its first bytes tells.

    Args:
        head: Its first bytes, some thousand where there are.
    """
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            return name
    if not head.strip(b"\x00"):
        return "holds only zeros, as an unfinished download does; get it anew"
    protobuf = _name_of_protobuf(head)
    if protobuf:
        return protobuf
    if head[:2] in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        return f"is compressed by zlib, as joblib does; {_UNPACK}"
    return _name_of_text(head)


def _name_of_protobuf(head: bytes) -> str:
    """ONNX, Core ML and SavedModels begin with their version, then text (a producer's name) or a message."""
    if re.match(rb"\x08[\x01-\x14]\x12[\x01-\x40][\x20-\x7e]+|\x08[\x03-\x14][\x3a\x42\x1a\x22\x32]", head):
        return _ONNX
    if head.startswith(b"\x08\x01\x12") and (b"tensorflow" in head or b"serve" in head or b"\x0a\x05" in head[3:12]):
        return _TENSORFLOW
    if re.match(rb"\x08[\x01-\x0c]\x12", head):
        return _CORE_ML
    if head.startswith(b"\x0a") and (b"\x12\x05Const" in head or b"\x12\x0bPlaceholder" in head):
        return _TENSORFLOW
    return ""


def _name_of_text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!-- ")):
        return _HTML
    if start.startswith((b"<?xml", b"<svg", b"<error")):
        return "is an XML text, perhaps a server's answer; get the file anew"
    try:
        text = head[: len(head) - 4].decode("utf-8") if len(head) > 64 else head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return ""
        text = head[: error.start].decode("utf-8")
    if not all(letter.isprintable() or letter in "\t\r\n\f" for letter in text):
        return ""
    kind = "JSON" if start[:1] in (b"{", b"[") else "a text"
    return f"is not a weight file: it is {kind}; expected is a file of weights, or of a network"

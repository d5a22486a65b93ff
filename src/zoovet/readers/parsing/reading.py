"""What a file is and holds, known by its first bytes."""

from __future__ import annotations

import io
import json
import struct
from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.foreign import name_of_bytes
from zoovet.readers.parsing.known_globals import Known
from zoovet.readers.parsing.onnx_file import is_onnx, read_onnx_file
from zoovet.readers.parsing.pickles import PickleMachine
from zoovet.readers.parsing.refusal import DAMAGED, EXPORT, Refusal
from zoovet.readers.parsing.replies import Reply
from zoovet.readers.parsing.safetensors_header import read_safetensors
from zoovet.readers.parsing.suspicious import refuse_wanted
from zoovet.readers.parsing.tflite_file import is_tflite, read_tflite_file
from zoovet.readers.parsing.torch_legacy import LEGACY_MAGIC, read_torch_legacy
from zoovet.readers.parsing.zip_files import read_zip

__all__ = ["read_file"]

_HEAD = 4096
_BEFORE_GRAPH = 2**20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_MAX_HEADER = 2**32
_MAX_INDEX = 2**25
_PICKLE_STARTS = b"\x80(c]})lds0123456789FIJKLMNSTUVXBCi"
_OLD_PICKLE = 2**22
_READ_WHOLE = 2**26


def read_file(file: IO[bytes], file_bytes: int) -> Reply:
    """What a file holds.

    Args:
        file: To read from.
        file_bytes: Its size.

    Raises:
        Refusal: It is damaged, no weight file, or unsafe; the text says what it is.
    """
    head = file.read(_HEAD)
    if not head:
        raise Refusal("is empty")
    if head.startswith(_ZIP):
        return read_zip(file, file_bytes)
    if head.startswith(_HDF5):
        return Reply({"library": "h5py"})
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < _MAX_HEADER:
        return read_safetensors(file, file_bytes)
    file.seek(0)
    if is_onnx(file.read(_BEFORE_GRAPH)):
        return read_onnx_file(file, file_bytes)
    if is_tflite(head):
        return read_tflite_file(file, file_bytes)
    name = name_of_bytes(head)
    if head.lstrip()[:1] == b"{":
        index = _shards(file, file_bytes)
        if index is not None:
            return Reply({"shards": index})
    if head[0] in _PICKLE_STARTS and (head[0] == 0x80 or file_bytes <= _OLD_PICKLE):
        return _read_pickle(file, file_bytes, name)
    raise Refusal(name or _unknown(head))


def _unknown(head: bytes) -> str:
    shown = " ".join(f"{byte:02x}" for byte in head[:4])
    known = "what torch.save wrote, safetensors, ONNX, Keras, TFLite, TorchScript or .pt2"
    return f"is not a weight file: it begins with {shown}; expected is {known}"


def _read_pickle(file: IO[bytes], file_bytes: int, name: str) -> Reply:
    """A file that may begin with a pickle: by ``torch.save`` before version 1.6, or by something else."""
    file.seek(0)
    if file_bytes <= _READ_WHOLE:
        file = io.BytesIO(file.read())  # which gives what there is, where more is asked for than there can be
    known = Known()
    try:
        first = PickleMachine(known, lambda _: None).read(file)
    except Refusal as refusal:
        if known.wanted:
            raise refuse_wanted(known.wanted) from refusal
        binary = file_bytes > 1 and _begins_as_pickle(file)
        raise (refusal if binary else Refusal(name or _unknown(_head(file)))) from refusal
    if first == LEGACY_MAGIC:
        return read_torch_legacy(file, file_bytes)
    if known.wanted:
        raise refuse_wanted(known.wanted, first)
    raise Refusal(
        "is a Python pickle that torch.save did not write. A pickle may run any code, so it was refused and nothing in "
        f"it was run; {EXPORT}"
    )


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_HEAD)


def _begins_as_pickle(file: IO[bytes]) -> bool:
    """Whether a file begins as pickles of protocols 2 to 5 do."""
    head = _head(file)
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _shards(file: IO[bytes], file_bytes: int) -> dict[str, list[str]] | None:
    """Which tensors are in which file, where this is the index of a sharded state dict; else ``None``.

    Raises:
        Refusal: It is one, but damaged.
    """
    if file_bytes > _MAX_INDEX:
        return None
    file.seek(0)
    try:
        index: Any = json.load(io.TextIOWrapper(io.BytesIO(file.read()), encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    names = index.get("weight_map") if isinstance(index, dict) else None
    if names is None:
        return None
    if not isinstance(names, dict) or not names or not all(isinstance(shard, str) for shard in names.values()):
        raise Refusal(f"is the index of a sharded state dict that {DAMAGED}: it names no files; get it anew")
    shards: dict[str, list[str]] = {}
    for name, shard in names.items():
        if not shard.isprintable() or "/" in shard or "\\" in shard or shard in ("", ".", ".."):
            raise Refusal(f"is unsafe: it names the file '{printable(shard, 80)}', which is not beside it")
        shards.setdefault(shard, []).append(name)
    return shards

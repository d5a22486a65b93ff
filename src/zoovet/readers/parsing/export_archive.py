"""A program by ``torch.export`` (.pt2): its graph is JSON, its weights lie in it as they are; no pickle is read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.dtypes import ITEM_BYTES
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import Reply, Tree
from zoovet.readers.parsing.values import Storage, StoredTensor
from zoovet.readers.parsing.zip_archive import ZipArchive

__all__ = ["program_folder", "read_export_archive"]

_PROGRAM = "models/model.json"
_TENSORS = {kind: f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants")}
_MAX_JSON = 64 * 2**20
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
}
"""Numbers of dtypes in torch.export's schema → torch's names."""
_UNUSED = ("metadata", "module_call_graph", "guards_code", "verifiers", "range_constraints")


def program_folder(names: Sequence[str]) -> str | None:
    """The folder of a program among a zip file's entries; ``None`` where there is none."""
    for name in names:
        if name.endswith(f"/{_PROGRAM}") and f"{name.removesuffix(_PROGRAM)}archive_format" in names:
            return name.removesuffix(_PROGRAM)
    return None


def read_export_archive(file: IO[bytes], file_bytes: int, entries: Sequence[zipfile.ZipInfo], folder: str) -> Reply:
    """What the archive holds.

    Returns:
        ``export``: the ``program`` as torch.export wrote it, without what is about its making, and ``tensors`` by name.

    Raises:
        Refusal: It is damaged, unsafe, or has weights in pickles.
    """
    archive = ZipArchive(file, file_bytes, entries, folder)
    program = _without_notes(_json(archive, _PROGRAM))
    tree = Tree(lambda storage: archive.place(storage.key), file_bytes)
    tensors: dict[str, StoredTensor] = {}
    for kind, listing in _TENSORS.items():
        for name, described in (_json(archive, listing)["config"] if archive.has(listing) else {}).items():
            if name in tensors:
                raise Refusal(f"{DAMAGED}: it has '{printable(name, 80)}' among its weights and its constants")
            tensors[name] = _tensor(archive, kind, name, described)
    order = archive.read("byteorder").strip() if archive.has("byteorder") else b"little"
    if order != b"little":
        raise Refusal("has its numbers in another byte order than little, which is not read; save it anew")
    written = {name: tree.reply(tensor).description["data"] for name, tensor in tensors.items()}
    return Reply({"export": {"program": program, "tensors": written}, "byteorder": "little"}, tree.blob)


def _json(archive: ZipArchive, name: str) -> Any:
    if archive.place(name)[1] > _MAX_JSON:
        raise Refusal(f"has the entry {name} of more than {_MAX_JSON >> 20} MB")
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{DAMAGED}: its entry {name} is no JSON; get it anew") from error


def _without_notes(value: Any) -> Any:
    """The same without what says how it was made, as lines of code."""
    if isinstance(value, dict):
        return {key: _without_notes(one) for key, one in value.items() if key not in _UNUSED}
    return [_without_notes(one) for one in value] if isinstance(value, list) else value


def _tensor(archive: ZipArchive, kind: str, name: str, described: Mapping[str, Any]) -> StoredTensor:
    meta, shown = described["tensor_meta"], f"'{printable(name, 80)}'"
    dtype = _DTYPES.get(meta["dtype"])
    if described["use_pickle"]:
        raise Refusal(f"has its weight {shown} in a pickle, which may run any code: refused; export it as ONNX")
    if dtype is None:
        raise Refusal(f"has its weight {shown} in numbers of less than 16 bits; weights are numbers of 16 to 64 bits")
    key = f"data/{kind}/{described['path_name']}"
    num_bytes = archive.place(key)[1]
    shape, stride = (tuple(int(one["as_int"]) for one in meta[part]) for part in ("sizes", "strides"))
    offset = int(meta["storage_offset"]["as_int"])
    if min((*shape, *stride, offset), default=0) < 0 or len(shape) != len(stride) or len(shape) > 64:
        raise Refusal(f"{DAMAGED}: its weight {shown} has a shape that is none")
    whole = num_bytes // ITEM_BYTES[dtype] * ITEM_BYTES[dtype]
    return StoredTensor(Storage(key, dtype, whole), dtype, offset, shape, stride)

"""What a Keras file holds: its layers' description, and where the numbers of its HDF5 lie.

HDF5 is read by h5py, so this is imported by a reading process of its own alone, which has h5py and NumPy besides.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import IO, Any

import h5py

from zoovet.printable import printable
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import Reply

__all__ = ["read_hdf5_file"]

_MAX_CONFIG = 16 * 2**20
_MAX_WEIGHTS = 2**31
_ENTRIES = {"config.json": _MAX_CONFIG, "metadata.json": 2**20, "model.weights.h5": _MAX_WEIGHTS}
_MAX_DEPTH, _MAX_ENTRIES, _MAX_NAME = 32, 30_000, 4096
_TIMES_FILE, _SPARE_BYTES = 4, 2**26
_MAX_RATIO, _FREE_BYTES = 1100, 2**16
"""What gzip can pack, and what a tensor may weigh however little of it is stored."""
_GZIP, _SHUFFLE = 1, 2
_UNUSED = ("optimizer", "optimizer_weights", "_optimizer")
_HEADER = 30
_KINDS = {"f": "float", "i": "int", "u": "uint"}


def read_hdf5_file(file: IO[bytes], file_bytes: int) -> Reply:
    """What the file holds: a ``.keras`` file, or HDF5.

    Returns:
        ``keras``: ``config``, the model's description, ``None`` where there is none; ``keras_version``; ``tensors`` by
        path, each as in :mod:`.replies`, or ``["refused", why]``; ``weight_names``, of groups that list them; and
        ``names`` of layers, by the group of their variables.

    Raises:
        Refusal: It is damaged, or holds more than such a file may.
    """
    try:
        if file.read(2) == b"PK":
            config, version, weights, start = _unzipped(file)
            return _Contents(weights, start, file_bytes).reply(config, version)
        file.seek(0)
        return _Contents(file, 0, file_bytes).reply(None)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Refusal(f"is a Keras file that {DAMAGED} ({printable(error, 80)}); get it anew") from error
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:  # what HDF5 says of damaged files
        raise Refusal(f"is an HDF5 file that {DAMAGED} ({printable(error, 80)}); get it anew") from error


def _unzipped(file: IO[bytes]) -> tuple[Any, str, IO[bytes], int | None]:
    """Description, Keras' version, weights, and where in the file these begin; ``None`` where they are packed."""
    archive = zipfile.ZipFile(file)
    for name, limit in _ENTRIES.items():
        if name not in archive.namelist():
            if name == "metadata.json":
                continue
            raise Refusal(f"is a Keras file without its entry {name}; save it anew as one file: model.save('m.keras')")
        entry = archive.getinfo(name)
        if entry.file_size > limit or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refusal(f"is a Keras file whose entry {name} is too large, or packed in an unusual way")
    config, entry = _json(archive.read("config.json")), archive.getinfo("model.weights.h5")
    said = _json(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    version = str(said.get("keras_version", "")) if isinstance(said, dict) else ""
    if entry.compress_type == zipfile.ZIP_STORED:
        file.seek(entry.header_offset)
        header = file.read(_HEADER)
        start = entry.header_offset + _HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        return config, version, io.BytesIO(archive.read(entry)), start
    return config, version, io.BytesIO(archive.read(entry)), None


def _json(text: str | bytes) -> Any:
    if len(text) > _MAX_CONFIG:
        raise Refusal(f"has a description of its layers of more than {_MAX_CONFIG >> 20} MB")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal("has a description of its layers that is no JSON; get it anew") from error


class _Contents:
    """The numbers of an HDF5 file.

    Args:
        hdf5: It.
        start: Where it begins in the file that was given; ``None`` where it does not lie there as it is.
        file_bytes: That file's size.
    """

    def __init__(self, hdf5: IO[bytes], start: int | None, file_bytes: int) -> None:
        self.hdf5, self.start = hdf5, start
        self.budget = _TIMES_FILE * file_bytes + _SPARE_BYTES
        self.num_entries = 0
        self.tensors: dict[str, Any] = {}
        self.weight_names: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.blob = bytearray()

    def reply(self, config: Any, version: str = "") -> Reply:
        """All of it, and the model's description and Keras' version where they lie beside it."""
        with h5py.File(self.hdf5, "r") as root:
            text = root.attrs.get("model_config") if config is None else None
            if text is not None:
                config, version = _json(text), _text(root.attrs.get("keras_version", ""))
            self._walk(root, "", 0)
        found = {
            "config": config,
            "keras_version": version,
            "tensors": self.tensors,
            "weight_names": self.weight_names,
            "names": self.names,
        }
        return Reply({"keras": found, "byteorder": "little"}, self.blob)

    def _walk(self, group: Any, path: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise Refusal(f"is nested more than {_MAX_DEPTH} deep, or holds itself")
        if path.endswith("/vars") and "name" in group.attrs:
            self.names[path] = _text(group.attrs["name"])
        names = _weight_names(group)
        if names is not None:
            self.weight_names[path] = names
        for name in group:
            if not path and name in _UNUSED:
                continue
            self.num_entries += 1
            if self.num_entries > _MAX_ENTRIES or len(name) > _MAX_NAME:
                raise Refusal(f"has more than {_MAX_ENTRIES:,} entries, or one with a name that is too long")
            inner = f"{path}/{name}" if path else name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                self.tensors[inner] = ["refused", "is a link to elsewhere; it is not followed"]
                continue
            entry = group[name]
            if isinstance(entry, h5py.Group):
                self._walk(entry, inner, depth + 1)
            elif isinstance(entry, h5py.Dataset):
                self.tensors[inner] = self._tensor(entry)

    def _tensor(self, dataset: Any) -> list[Any]:
        plist, dtype = dataset.id.get_create_plist(), dataset.dtype
        filters = {plist.get_filter(index)[0] for index in range(plist.get_nfilters())}
        if dataset.is_virtual or plist.get_external_count():
            return ["refused", "lies in another file; it is not read"]
        if not filters <= {_GZIP, _SHUFFLE}:
            return ["refused", "is packed by a filter that is neither gzip nor shuffle"]
        if dataset.shape is None or dtype.kind not in _KINDS or dtype.itemsize > 8 or dtype.names:
            return ["refused", "does not hold numbers of 8 to 64 bits"]
        num_bytes = dataset.size * dtype.itemsize
        if num_bytes > dataset.id.get_storage_size() * _MAX_RATIO + _FREE_BYTES:
            return ["refused", "claims more numbers than the file stores"]
        self.budget -= num_bytes
        if self.budget < 0:
            raise Refusal("repeats its numbers: written out, its tensors would be many times the file's size")
        shape, name = [int(size) for size in dataset.shape], f"{_KINDS[dtype.kind]}{8 * dtype.itemsize}"
        offset = dataset.id.get_offset()
        if offset is not None and num_bytes and self.start is not None and dtype == dtype.newbyteorder("<"):
            strides = [1] * len(shape)
            for axis in range(len(shape) - 2, -1, -1):
                strides[axis] = strides[axis + 1] * shape[axis + 1]
            return ["tensor", self.start + offset, num_bytes, name, 0, shape, strides, False, False]
        start = len(self.blob)
        self.blob += dataset[()].astype(dtype.newbyteorder("<")).tobytes()
        return ["array", start, num_bytes, f"<{dtype.kind}{dtype.itemsize}", shape, False]


def _weight_names(group: Any) -> list[str] | None:
    """What a group lists as its layer's variables, in order; Keras 2 cuts long lists into several."""
    attributes = group.attrs
    if "weight_names" in attributes:
        names = list(attributes["weight_names"])
    elif "weight_names0" in attributes:
        names, number = [], 0
        while f"weight_names{number}" in attributes:
            names += list(attributes[f"weight_names{number}"])
            number += 1
    else:
        return None
    if len(names) > _MAX_ENTRIES:
        raise Refusal(f"has a layer that lists {len(names):,} tensors")
    return list(map(_text, names))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

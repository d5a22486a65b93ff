"""What ``torch.save`` writes: a zip file, not compressed, of a pickle and the numbers of each storage."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import IO

from zoovet.printable import printable
from zoovet.readers.parsing.foreign import name_of_zip
from zoovet.readers.parsing.known_globals import Known
from zoovet.readers.parsing.pickles import PickleMachine
from zoovet.readers.parsing.refusal import DAMAGED, EXPORT, Refusal
from zoovet.readers.parsing.replies import Reply, Tree
from zoovet.readers.parsing.suspicious import refuse_wanted
from zoovet.readers.parsing.tensor_records import storage_of
from zoovet.readers.parsing.values import Storage

__all__ = ["read_torch_zip"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_PIECE = 2**20
_MAX_ENTRIES = 300_000


def read_torch_zip(file: IO[bytes], file_bytes: int) -> Reply:
    """What the zip file holds.

    Raises:
        Refusal: ``torch.save`` did not write it, it is damaged or unsafe, or it names what weights do not need.
    """
    try:
        entries = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ArithmeticError, LookupError, ValueError, struct.error) as error:
        raise Refusal(f"is a zip file that {DAMAGED} ({printable(error, 80)}); get it anew") from error
    if "config.json" in {entry.filename for entry in entries} and any(
        entry.filename.endswith(".weights.h5") for entry in entries
    ):
        return Reply({"library": "h5py"})
    prefix = _require_torch(entries)
    _require_safe(entries)
    archive = _Archive(file, file_bytes, prefix, {entry.filename: entry for entry in entries})
    known = Known()
    pickled = archive.read("data.pkl")
    try:
        root = PickleMachine(known, storage_of).read(io.BytesIO(pickled))
    except Refusal as refusal:
        raise (refuse_wanted(known.wanted) if known.wanted else refusal) from refusal
    if known.wanted:
        raise refuse_wanted(known.wanted, root)
    order = archive.read("byteorder").strip() if archive.has("byteorder") else b"little"
    if order not in (b"little", b"big"):
        raise Refusal(f"{DAMAGED}: its byte order is neither little nor big; get it anew")
    return Tree(archive.place, file_bytes).reply(root, byteorder=order.decode("ascii"))


def _require_torch(entries: Sequence[zipfile.ZipInfo]) -> str:
    """The folder within the file that ``torch.save`` gave all entries."""
    if len(entries) > _MAX_ENTRIES:
        raise Refusal(f"is a zip file of {len(entries):,} entries, more than weight files have")
    names = [entry.filename for entry in entries]
    foreign = name_of_zip(names)
    if foreign:
        raise Refusal(foreign)
    pickles = {name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")}
    if not pickles:
        raise Refusal("is not a weight file: it is a zip file that torch.save did not write")
    if len(pickles) > 1:
        raise Refusal(f"is a zip file of {len(pickles)} files by torch.save; give them one by one")
    return pickles.pop().removesuffix("data.pkl")


def _require_safe(entries: Sequence[zipfile.ZipInfo]) -> None:
    times = Counter(entry.filename for entry in entries)
    for entry in entries:
        name = f"'{printable(entry.filename, 80)}'"
        parts = entry.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise Refusal(f"is unsafe: its entry {name} would be written outside of its folder, as malicious files do")
        if times[entry.filename] > 1:
            raise Refusal(f"is ambiguous: it has the entry {name} {times[entry.filename]} times; get it anew")
        if entry.flag_bits & 1:
            raise Refusal(f"is encrypted (entry {name}), which weight files are not; {EXPORT}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise Refusal(f"has the compressed entry {name}, which torch.save does not write; unpack it and {EXPORT}")
        if entry.compress_size != entry.file_size:
            raise Refusal(f"{DAMAGED}: its entry {name} has two sizes; get it anew")


class _Archive:
    """The entries of the file, where they lie."""

    def __init__(self, file: IO[bytes], file_bytes: int, prefix: str, entries: dict[str, zipfile.ZipInfo]) -> None:
        self.file, self.file_bytes, self.prefix, self.entries = file, file_bytes, prefix, entries
        self.places: dict[str, tuple[int, int]] = {}

    def has(self, name: str) -> bool:
        return self.prefix + name in self.entries

    def read(self, name: str) -> bytes:
        """An entry's bytes.

        Raises:
            Refusal: It is not there, or damaged.
        """
        start, size = self._find(name)
        self.file.seek(start)
        return self.file.read(size)

    def place(self, storage: Storage) -> tuple[int, int]:
        """First byte and size of a storage's numbers."""
        return self._find(f"data/{storage.key}")

    def _find(self, name: str) -> tuple[int, int]:
        if name not in self.places:
            entry = self.entries.get(self.prefix + name)
            if entry is None:
                raise Refusal(f"{DAMAGED}: it lacks its entry '{printable(self.prefix + name, 80)}'; get it anew")
            self.places[name] = self._checked(entry)
        return self.places[name]

    def _checked(self, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Where an entry lies; its checksum is compared, but for files that were written without (they say 0)."""
        name = f"'{printable(entry.filename, 80)}'"
        self.file.seek(entry.header_offset)
        header = self.file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise Refusal(f"{DAMAGED}: its entry {name} is not where its directory says; get it anew")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        if start + entry.file_size > self.file_bytes:
            raise Refusal(f"{DAMAGED}: its entry {name} reaches beyond its end; get it anew")
        if entry.CRC:
            self.file.seek(start)
            left, checksum = entry.file_size, 0
            while left and (piece := self.file.read(min(left, _PIECE))):
                checksum, left = zlib.crc32(piece, checksum), left - len(piece)
            if checksum != entry.CRC:
                raise Refusal(f"{DAMAGED}: its entry {name} has another checksum than was written; get it anew")
        return start, entry.file_size

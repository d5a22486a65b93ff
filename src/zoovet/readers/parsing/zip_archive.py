"""Zip files whose entries lie in them as they are: opened with care, their checksums compared."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import IO

from zoovet.printable import printable
from zoovet.readers.parsing.refusal import DAMAGED, EXPORT, Refusal

__all__ = ["ZipArchive", "entries_of"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_PIECE = 2**20
_MAX_ENTRIES = 300_000


def entries_of(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """The entries of a zip file.

    Raises:
        Refusal: It is damaged, or has too many.
    """
    try:
        entries = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ArithmeticError, LookupError, ValueError, struct.error) as error:
        raise Refusal(f"is a zip file that {DAMAGED} ({printable(error, 80)}); get it anew") from error
    if len(entries) > _MAX_ENTRIES:
        raise Refusal(f"is a zip file of {len(entries):,} entries, more than weight files have")
    return entries


def _require_safe(entries: Sequence[zipfile.ZipInfo], packed: str | None) -> None:
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
        if packed is not None and entry.compress_type == zipfile.ZIP_DEFLATED and entry.filename.startswith(packed):
            continue
        if entry.compress_type != zipfile.ZIP_STORED:
            raise Refusal(f"has the compressed entry {name}, which torch.save does not write; unpack it and {EXPORT}")
        if entry.compress_size != entry.file_size:
            raise Refusal(f"{DAMAGED}: its entry {name} has two sizes; get it anew")


class ZipArchive:
    """Entries of a zip file, where they lie.

    Args:
        file: It.
        file_bytes: Its size.
        entries: All of them.
        prefix: What the names asked for stand behind.
        packed: How names begin, behind it, whose entries may be compressed; ``None``: none may be.

    Raises:
        Refusal: One is packed, encrypted, there twice, or would be written elsewhere.
    """

    def __init__(
        self,
        file: IO[bytes],
        file_bytes: int,
        entries: Sequence[zipfile.ZipInfo],
        prefix: str = "",
        packed: str | None = None,
    ) -> None:
        _require_safe(entries, None if packed is None else prefix + packed)
        self.file, self.file_bytes, self.prefix = file, file_bytes, prefix
        self.entries = {entry.filename: entry for entry in entries}
        self.places: dict[str, tuple[int, int]] = {}

    def has(self, name: str) -> bool:
        """Whether there is an entry."""
        return self.prefix + name in self.entries

    def read(self, name: str) -> bytes:
        """An entry's bytes.

        Raises:
            Refusal: It is not there, or damaged.
        """
        start, size = self.place(name)
        self.file.seek(start)
        return self.file.read(size)

    def unpacked(self, name: str, limit: int) -> bytes:
        """An entry's bytes, be it compressed or not.

        Raises:
            Refusal: It is not there, damaged, or of more bytes than the limit.
        """
        start, size = self.place(name)
        entry, shown = self.entries[self.prefix + name], f"'{printable(self.prefix + name, 80)}'"
        if max(size, entry.file_size) > limit:
            raise Refusal(f"has the entry {shown} of {entry.file_size >> 20} MB, more than such entries have")
        self.file.seek(start)
        data = self.file.read(size)
        if entry.compress_type == zipfile.ZIP_STORED:
            return data
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, entry.file_size + 1)
        except zlib.error as error:
            raise Refusal(f"{DAMAGED}: its entry {shown} cannot be unpacked; get it anew") from error
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            raise Refusal(f"{DAMAGED}: its entry {shown} unpacks to something else than was packed; get it anew")
        return data

    def place(self, name: str) -> tuple[int, int]:
        """First byte of an entry and its size as it lies there.

        Raises:
            Refusal: It is not there, or damaged.
        """
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
        if start + entry.compress_size > self.file_bytes:
            raise Refusal(f"{DAMAGED}: its entry {name} reaches beyond its end; get it anew")
        if entry.CRC and entry.compress_type == zipfile.ZIP_STORED:
            self.file.seek(start)
            left, checksum = entry.file_size, 0
            while left and (piece := self.file.read(min(left, _PIECE))):
                checksum, left = zlib.crc32(piece, checksum), left - len(piece)
            if checksum != entry.CRC:
                raise Refusal(f"{DAMAGED}: its entry {name} has another checksum than was written; get it anew")
        return start, entry.compress_size

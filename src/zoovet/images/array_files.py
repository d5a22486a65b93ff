"""Arrays in ``.npz`` archives and ``.npy`` files, of strangers too; large ones of images stay on disk."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoovet.errors import ZoovetError
from zoovet.images import stored_pixels
from zoovet.images.stored_pixels import Shape, StoredPixels, has_channels_first
from zoovet.printable import printable
from zoovet.text_files import open_regular

__all__ = ["ZippedPixels", "named_classes", "opened_npz", "read_npy", "read_npz"]

_SKIPPED_AT_A_TIME = 1 << 18
_ZIP, _NPY = b"PK", b"\x93NUMPY"
_OBJECTS = "it has an array of Python objects, which is code; expected are arrays of numbers"
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path) -> tuple[Any, Any, tuple[str, ...]]:
    """The arrays ``images``, ``labels`` and ``class_names`` of an archive; no code in it is run.

    Returns:
        Images; large ones in a ``numpy.memmap``, or as :class:`ZippedPixels` where they are compressed. Labels, or
        ``None`` where it has none; names of classes, or none.

    Raises:
        ZoovetError: It is missing, no such archive, has no ``images``, or names that are no texts.
    """
    with opened_npz(path) as archive:
        if "images" not in archive:
            there = ", ".join(printable(name, 30) for name in list(archive)[:6])
            is_folder = any("/" in name for name in archive)  # as in a zip of class folders
            way = "; unpack it, and give the folder of class folders" if is_folder else ""
            raise ZoovetError(f"{printable(path)} has no array 'images', it has {there or 'none'}{way}")
        names = named_classes(archive["class_names"], printable(path)) if "class_names" in archive else ()
        return archive["images"], archive.get("labels", None), names


def named_classes(array: Any, where: str) -> tuple[str, ...]:
    """The names of an array ``class_names``.

    Raises:
        ZoovetError: It is no array of texts; ``where`` begins the message.
    """
    texts = np.asarray(array)
    if texts.dtype.kind not in "US" or texts.ndim != 1:
        shown = f"{printable(texts.dtype)} {list(texts.shape)}"
        raise ZoovetError(f"{where}: class_names must be texts [classes], got {shown}")
    decoded = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts.tolist()]
    return tuple(printable(text, 60) for text in decoded)


@contextmanager
def opened_npz(path: Path) -> Iterator[Mapping[str, Any]]:
    """An archive of arrays, which are read as they are asked for; what goes wrong then is one line.

    Raises:
        ZoovetError: It is missing, no such archive, or damaged.
    """
    shown = printable(path)
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            begin = stream.read(len(_NPY))
            if begin == _NPY:
                raise ZoovetError(f"{shown} is one array, expected is an .npz with images and labels")
            if not begin.startswith(_ZIP):
                raise ValueError("it is no .npz archive")
            stream.seek(0)
            archive = np.load(stream, allow_pickle=False)
            assert isinstance(archive, np.lib.npyio.NpzFile), "what begins as a zip archive is opened as one"
            yield _Archive(path, archive)
    except _UNREADABLE as error:
        if isinstance(error, ZoovetError):
            raise
        raise ZoovetError(
            f"{shown} cannot be read: {_in_words(error)}; reference images are a folder of class folders, or an .npz "
            "with images and labels"
        ) from error


def read_npy(path: Path) -> NDArray[Any]:
    """An array; a large one in a ``numpy.memmap``.

    Raises:
        ZoovetError: It cannot be read as an array.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as stream:
            if stream.read(len(_NPY)) != _NPY:
                raise ValueError("it is no .npy file")
        is_large = path.stat().st_size > stored_pixels.MOST_IN_MEMORY
        array: NDArray[Any] = np.load(path, mmap_mode="c" if is_large else None, allow_pickle=False)
    except _UNREADABLE as error:
        raise ZoovetError(f"{printable(path)} cannot be read as an array: {_in_words(error)}") from None
    return array


def _in_words(error: Exception) -> str:
    """What was wrong, without the advice to load what may be code."""
    if isinstance(error, ValueError) and "allow_pickle" in str(error):
        return _OBJECTS
    return printable((error.strerror if isinstance(error, OSError) else None) or error)


class _Archive(Mapping[str, Any]):
    """An archive's arrays by name: small ones are read, large ones stay where they lie."""

    def __init__(self, path: Path, archive: np.lib.npyio.NpzFile) -> None:
        self._path, self._archive = path, archive
        zipped = archive.zip
        assert zipped is not None, "an archive that was just opened is open"
        self._members = {member.filename.removesuffix(".npy"): member for member in zipped.infolist()}

    def __getitem__(self, name: str) -> Any:
        member = self._members[name]
        if member.file_size <= stored_pixels.MOST_IN_MEMORY:
            return self._archive[name]
        with zipfile.ZipFile(self._path) as zipped, zipped.open(member) as stream:
            dtype, shape, is_fortran, start = _npy_header(stream)
        if member.compress_type == zipfile.ZIP_STORED:
            offset = _data_offset(self._path, member) + start
            return np.memmap(self._path, dtype, "c", offset, shape, "F" if is_fortran else "C")
        if dtype != np.uint8 or len(shape) not in (3, 4) or is_fortran:
            raise ZoovetError(
                f"{printable(self._path)}: images must be uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], "
                f"{printable(name, 30)} is {printable(dtype)} {list(shape)}"
            )
        return ZippedPixels(self._path, member.filename, (*shape, 1) if len(shape) == 3 else shape, start)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@dataclass(frozen=True, eq=False)
class ZippedPixels(StoredPixels):
    """Pixels in a compressed archive. Reading some unpacks all that lies before them, a piece at a time.

    Attributes:
        path: The archive.
        member: The array's name in it.
        array_shape: (N, H, W, C) or (N, C, H, W), each image's numbers together.
        start: Bytes before the first image.
        cursor: How far it is unpacked, so that images in their order are read in one go.
    """

    path: Path
    member: str
    array_shape: tuple[int, ...]
    start: int
    cursor: _Cursor = field(default_factory=lambda: _Cursor(), init=False, repr=False)

    @property
    def has_channels_first(self) -> bool:
        """Whether the array is (N, C, H, W)."""
        return has_channels_first(self.array_shape)

    @property
    def shape(self) -> Shape:
        """See :class:`StoredPixels`."""
        count, first, second, third = self.array_shape
        return (count, first, second, third) if self.has_channels_first else (count, third, first, second)

    def read(self, places: NDArray[np.int64]) -> Tensor:
        """See :class:`StoredPixels`."""
        length = int(np.prod(self.array_shape[1:]))
        unique, inverse = np.unique(places, return_inverse=True)
        found = np.empty((len(unique), length), dtype=np.uint8)
        try:
            for row, place in enumerate(unique.tolist()):
                data = self.cursor.read(self, self.start + place * length, length)
                found[row] = np.frombuffer(data, dtype=np.uint8)
        except _UNREADABLE as error:
            self.cursor.close()
            raise ZoovetError(f"{printable(self.path)} cannot be read: {printable(error)}") from None
        images = found[inverse].reshape(len(places), *self.array_shape[1:])
        pixels = images if self.has_channels_first else images.transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(pixels))


class _Cursor:
    """A place in a compressed array, from which one can go on."""

    def __init__(self) -> None:
        self._open: tuple[zipfile.ZipFile, IO[bytes]] | None = None
        self._at = 0

    def read(self, pixels: ZippedPixels, offset: int, length: int) -> bytes:
        """Bytes of the array's member, from ``offset`` on."""
        if self._open is None or offset < self._at:
            self.close()
            zipped = zipfile.ZipFile(pixels.path)
            self._open = (zipped, zipped.open(pixels.member))
        stream = self._open[1]
        while self._at < offset:
            skipped = len(stream.read(min(_SKIPPED_AT_A_TIME, offset - self._at)))
            if not skipped:
                raise EOFError(f"it ends after {self._at} bytes of {pixels.member}")
            self._at += skipped
        data = stream.read(length)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Begin anew with the next reading."""
        if self._open is not None:
            for opened in reversed(self._open):
                opened.close()
        self._open, self._at = None, 0

    def __reduce__(self) -> tuple[type[_Cursor], tuple[()]]:
        return _Cursor, ()  # in another process it begins anew

    def __del__(self) -> None:
        self.close()


def _npy_header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """What an array is: dtype, shape, whether its first axis varies fastest, and where its numbers begin."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError(_OBJECTS)
    return dtype, shape, is_fortran, stream.tell()


def _data_offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the bytes of an archive's member begin in its file, behind a name and a field whose lengths stand there."""
    with open(path, "rb") as stream:
        stream.seek(member.header_offset + 26)
        lengths = stream.read(4)
        name, extra = (int.from_bytes(lengths[start : start + 2], "little") for start in (0, 2))
        return stream.seek(name + extra, os.SEEK_CUR)

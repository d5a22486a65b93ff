"""Reader of IDX files, the format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoovet.errors import ZoovetError

__all__ = ["find_idx", "read_idx"]

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def find_idx(folder: Path, prefix: str) -> tuple[Path, Path] | None:
    """The files of images and labels of a split in a folder, packed or not; ``None`` where one of them is not there.

    Args:
        folder: Where.
        prefix: How their names begin: ``train`` or ``t10k``.
    """
    images = _plain_or_packed(folder / f"{prefix}-images-idx3-ubyte")
    labels = _plain_or_packed(folder / f"{prefix}-labels-idx1-ubyte")
    return None if images is None or labels is None else (images, labels)


def _plain_or_packed(path: Path) -> Path | None:
    """The path, or the path with ``.gz``, whichever is a file; or None."""
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzip-compressed or not (told by its first bytes, not by its name).

    Args:
        path: The file.
        num_dimensions: 1 for labels, 3 for images.

    Returns:
        uint8 array of the sizes that the file's head gives.

    Raises:
        ZoovetError: The file cannot be read, is no such IDX file, or is shorter or longer than its head says.
    """
    data = _read_unpacked(path)
    expected_magic = _UNSIGNED_BYTE << 8 | num_dimensions
    header_size = 4 * (1 + num_dimensions)
    if len(data) < header_size:
        raise ZoovetError(
            f"{path} is truncated: expected an IDX head of {header_size} bytes, got {len(data)} bytes in all"
        )
    magic, *shape = struct.unpack(f">{1 + num_dimensions}I", data[:header_size])
    if magic != expected_magic:
        raise ZoovetError(
            f"{path} is no IDX file of bytes in {num_dimensions} dimensions: expected the magic number "
            f"{expected_magic:#010x}, got {magic:#010x}"
        )
    expected_size, actual_size = math.prod(shape), len(data) - header_size
    if actual_size != expected_size:
        raise ZoovetError(
            f"{path} is {'truncated' if actual_size < expected_size else 'too long'}: its head announces "
            f"{' × '.join(map(str, shape))}, so {expected_size} bytes after it, got {actual_size}"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header_size).reshape(shape)


def _read_unpacked(path: Path) -> bytes:
    """The file's bytes, unpacked where it is gzip."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except (OSError, EOFError, zlib.error) as error:
        raise ZoovetError(f"{path} cannot be read: {error}") from error

"""Numbers that an ONNX file keeps in other files: only in files beside it or below its folder, and only once each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.text_files import open_regular

__all__ = ["ExternalData"]

_PIECE = 2**26


class ExternalData:
    """Files that tensors may refer to.

    Args:
        folder: Of the ONNX file; ``None`` where it has none, as bytes from memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._left: dict[Path, int] = {}

    def read(self, where: Mapping[str, str], num_bytes: int, what: str) -> bytearray:
        """A tensor's bytes.

        Args:
            where: ``location``, ``offset`` and ``length``, as in the file.
            num_bytes: That the tensor needs.
            what: The tensor, for messages.

        Raises:
            ZoovetError: The file lies elsewhere, is a link, is missing, or does not hold so many bytes there; or
                tensors together are larger than it.
        """
        path = self._path(where.get("location", ""), what)
        offset, length = _integer(where, "offset", 0, what), _integer(where, "length", num_bytes, what)
        name = printable(path.name, 80)
        try:
            descriptor = open_regular(path, os.O_NOFOLLOW)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ZoovetError(f"{what} lies in the file '{name}', which cannot be read: {printable(reason)}") from None
        try:
            size = os.fstat(descriptor).st_size
            if length != num_bytes or offset + num_bytes > size:
                raise ZoovetError(
                    f"{what} needs {num_bytes} bytes from byte {offset} of '{name}', which has {size}"
                    + (f", and says {length}" if length != num_bytes else "")
                )
            self._left.setdefault(path, size)
            self._left[path] -= num_bytes
            if self._left[path] < 0:
                raise ZoovetError(f"its tensors together are larger than the file '{name}' that they lie in")
            return _read(descriptor, offset, num_bytes, what)
        finally:
            os.close(descriptor)

    def _path(self, location: str, what: str) -> Path:
        place = PurePosixPath(location)
        shown = printable(location, 80)
        if self._folder is None:
            raise ZoovetError(f"{what} lies in the file '{shown}'; give the path of the ONNX file, not its bytes")
        if not location or "\0" in location or "\\" in location or place.is_absolute() or ".." in place.parts:
            raise ZoovetError(f"{what} lies in '{shown}', outside the file's folder; that is not opened")
        path = self._folder
        for part in place.parts:
            path = path / part
            if path.is_symlink():
                raise ZoovetError(f"{what} lies in '{shown}', which is a link; links are not followed")
        return path


def _integer(where: Mapping[str, str], key: str, default: int, what: str) -> int:
    text = where.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ZoovetError(f"{what} has the {key} '{printable(text, 40)}', which is no number of bytes")
    return int(text)


def _read(descriptor: int, offset: int, num_bytes: int, what: str) -> bytearray:
    data = bytearray(num_bytes)
    view, done = memoryview(data), 0
    while done < num_bytes:
        piece = os.preadv(descriptor, [view[done : done + _PIECE]], offset + done)
        if not piece:
            raise ZoovetError(f"{what}: its file was cut off while it was read")
        done += piece
    return data

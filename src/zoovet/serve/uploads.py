"""Uploads: a form's files, written as they come in into a job's own folder, within limits; nothing is run or read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from zoovet.errors import ZoovetError
from zoovet.files import storage_errors
from zoovet.printable import printable
from zoovet.serve.archives import is_safe_relative, safe_name

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["IMAGE_ARCHIVES", "ReceivedForm", "TooLarge", "receive_form"]

IMAGE_ARCHIVES = (".zip", ".npz")
_MAX_FIELDS = 40
_MAX_FIELD_BYTES = 2**14
_SECONDS_BETWEEN_PIECES = 60.0
_IMAGES = "images"


class TooLarge(ZoovetError):
    """More was sent than is taken."""


@dataclass
class ReceivedForm:
    """What a form held.

    Attributes:
        fields: Name → value of what is no file.
        file: Name of the network's file in the folder; empty where none was given.
        images: Name of the images there, a folder or a file; empty where none were given.
    """

    fields: dict[str, str] = field(default_factory=dict)
    file: str = ""
    images: str = ""


async def receive_form(
    pieces: AsyncIterator[bytes],
    content_type: str,
    folder: Path | None,
    *,
    max_bytes: int,
    max_files: int,
) -> ReceivedForm:
    """Take in a form.

    Args:
        pieces: The request's body.
        content_type: Its header.
        folder: Where files go: ``file``, the network; ``images``, one zip or ``.npz``; ``folder``, images with their
            paths. ``None`` where the form has none.
        max_bytes: Of the body.
        max_files: That it may hold.

    Raises:
        TooLarge: More was sent.
        ZoovetError: It is no such form, is cut off, or has a path that leads out of its folder.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise ZoovetError(
            f"expected is a form, multipart/form-data, got {printable(content_type) or 'no content type'}"
        )
    parts = _Parts(folder, max_files)
    with contextlib.closing(parts):
        parser = MultipartParser(boundary, parts.callbacks())
        num_bytes = 0
        while piece := await _next(pieces):
            num_bytes += len(piece)
            if num_bytes > max_bytes:
                raise TooLarge(f"more than {max_bytes >> 20:,} MB were sent; less is taken at a time")
            try:
                with storage_errors(folder or Path()):
                    parser.write(piece)
            except MultipartParseError as error:
                raise ZoovetError(f"the form is damaged: {printable(error)}") from error
        if not parts.has_ended:
            raise ZoovetError("the form is cut off")
    return parts.form


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    """The next piece that is not empty; empty at the end."""
    try:
        async with asyncio.timeout(_SECONDS_BETWEEN_PIECES):
            async for piece in pieces:
                if piece:
                    return piece
    except ClientDisconnect:
        raise ZoovetError("whoever sent it went away") from None
    except TimeoutError:
        raise ZoovetError(f"nothing came for {_SECONDS_BETWEEN_PIECES:.0f} s; send it again") from None
    return b""


class _Parts:
    """Takes in a form's parts, one after another.

    Args:
        folder: Where files go.
        max_files: How many there may be.
    """

    def __init__(self, folder: Path | None, max_files: int) -> None:
        self.form = ReceivedForm()
        self.has_ended = False
        self._folder, self._max_files = folder, max_files
        self._num_files = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name, self._header_value = b"", b""
        self._name = ""
        self._value: bytearray | None = None
        self._target: IO[bytes] | None = None

    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_header_name,
            "on_header_value": self._take_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take_data,
            "on_part_end": self._end,
            "on_end": self._end_form,
        }

    def close(self) -> None:
        """Close the file that was being written."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def _begin(self) -> None:
        self._headers, self._name, self._value = {}, "", None

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self._open(options[b"filename"].decode("utf-8", "replace"))
        elif len(self.form.fields) >= _MAX_FIELDS:
            raise ZoovetError(f"the form has more than {_MAX_FIELDS} fields")
        else:
            self._value = bytearray()

    def _open(self, filename: str) -> None:
        """Begin to write a file; of a field that was left empty, browsers send one without a name."""
        if not filename or self._folder is None:
            return
        self._num_files += 1
        if self._num_files > self._max_files:
            raise TooLarge(f"more than {self._max_files:,} files were sent; a few images of each class are enough")
        place = self._place(filename, self._folder)
        if place is None:
            return
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._target = place.open("wb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise ZoovetError(f"{printable(filename, 60)} was sent both as a file and as a folder") from error

    def _place(self, filename: str, folder: Path) -> Path | None:
        """Where a file goes; ``None`` where it is left out."""
        if self._name == "file":
            if self.form.file:
                raise ZoovetError("give one network at a time: the form holds several files of weights")
            self.form.file = safe_name(filename)
            return folder / self.form.file
        if self._name == "images":
            if self.form.images:
                raise ZoovetError("give the reference images once: as a folder, or as one .zip or .npz")
            if not filename.lower().endswith(IMAGE_ARCHIVES):
                raise ZoovetError(
                    f"reference images come as a folder, a .zip or an .npz, got {printable(filename, 60)}"
                )
            self.form.images = f"{_IMAGES}{Path(filename).suffix.lower()}"
            return folder / self.form.images
        if self._name == "folder":
            return self._place_in_folder(filename, folder)
        raise ZoovetError(f"the form has a file '{printable(self._name, 60)}'; it takes file, images and folder")

    def _place_in_folder(self, filename: str, folder: Path) -> Path | None:
        if self.form.images not in ("", _IMAGES):
            raise ZoovetError("give the reference images once: as a folder, or as one .zip or .npz")
        if not is_safe_relative(filename):
            raise ZoovetError(f"the path {printable(filename, 60)} leads out of its folder, or is too deep")
        parts = PurePosixPath(filename.replace("\\", "/")).parts
        inner = parts[1:] if len(parts) > 1 else parts  # the first is the folder that was chosen
        if any(part.startswith(".") for part in inner):
            return None
        self.form.images = _IMAGES
        return folder.joinpath(_IMAGES, *map(safe_name, inner))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._target is not None:
            self._target.write(data[start:end])
        elif self._value is not None:
            self._value += data[start:end]
            if len(self._value) > _MAX_FIELD_BYTES:
                raise ZoovetError(f"the form's field '{printable(self._name, 60)}' is too long")

    def _end(self) -> None:
        self.close()
        if self._value is not None:
            self.form.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end_form(self) -> None:
        self.has_ended = True

"""The tensors of a weight file, whatever its format, without running code that may be in it."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from zoovet.errors import ZoovetError
from zoovet.readers.content import FileContent
from zoovet.readers.wrappings import HOW_TO_EXPORT, unwrapped

__all__ = ["read_content"]

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number 0x1950A86A20F9469CFC6C, pickled


def read_content(path: Path) -> FileContent:
    """Read a file, known by its first bytes: safetensors, or ``torch.save`` (zip or the older format).

    Raises:
        ZoovetError: The file is missing, truncated, not a weight file, or has code in it, which is not run.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise ZoovetError(f"{path} does not exist") from error
    except OSError as error:
        hint = "; give the weight files in it" if path.is_dir() else ""
        raise ZoovetError(f"{path} cannot be read: {error.strerror or error}{hint}") from error
    if not head:
        raise ZoovetError(f"{path} is empty")
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(_ZIP):
        _require_tensor_archive(path)
        return unwrapped(_load_pickle(path), str(path))
    if head.startswith(_PICKLE) and head[2:15] != _LEGACY_MAGIC:
        raise ZoovetError(
            f"{path} is a Python pickle that torch.save did not write. A pickle may run any code, so it was refused "
            f"and nothing in it was run; {HOW_TO_EXPORT}"
        )
    if head.startswith(_PICKLE):
        return unwrapped(_load_pickle(path), str(path))
    raise ZoovetError(
        f"{path} is not a weight file: expected is safetensors or what torch.save wrote; other formats are not read"
    )


def _read_safetensors(path: Path) -> FileContent:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
            return FileContent(tensors=tensors, metadata=file.metadata() or {}, ordered=False)
    except (SafetensorError, OSError) as error:
        raise ZoovetError(f"{path} is a safetensors file that is damaged or truncated: {error}; get it anew") from error


def _require_tensor_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ZoovetError(f"{path} is a zip file that is damaged or truncated: {error}; get it anew") from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise ZoovetError(f"{path} is a TorchScript program, which is code, so it was refused; {HOW_TO_EXPORT}")
    if not any(name.endswith("/data.pkl") for name in names):
        raise ZoovetError(f"{path} is not a weight file: it is a zip file that torch.save did not write")


def _load_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # On damaged files the restricted unpickler raises nearly every exception there is.
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            raise ZoovetError(
                f"{path} was refused and nothing in it was run: it holds more than tensors, namely {refused[1]!r}, "
                f"and a pickle that does may run any code. If it is a module that you trust, load it yourself and "
                f"{HOW_TO_EXPORT}"
            ) from error
        detail = re.search(r"WeightsUnpickler error: (.*)", str(error))
        reason = detail[1] if detail else (str(error).splitlines() or ["the file ends too early"])[0]
        raise ZoovetError(
            f"{path} is damaged or truncated, or not a weight file ({type(error).__name__}: {reason}); get it anew"
        ) from error

"""Zip files, by what is in them: what ``torch.save`` writes, ``torch.export``, TorchScript, Keras."""

from __future__ import annotations

from typing import IO

from zoovet.readers.parsing.export_archive import program_folder, read_export_archive
from zoovet.readers.parsing.replies import Reply
from zoovet.readers.parsing.torch_zip import read_torch_zip
from zoovet.readers.parsing.torchscript_archive import read_torchscript_archive, script_folder
from zoovet.readers.parsing.zip_archive import entries_of

__all__ = ["read_zip"]


def read_zip(file: IO[bytes], file_bytes: int) -> Reply:
    """What a zip file holds.

    Raises:
        Refusal: It is of something else, damaged or unsafe, or names what weights do not need.
    """
    entries = entries_of(file)
    names = [entry.filename for entry in entries]
    if "config.json" in names and any(name.endswith(".weights.h5") for name in names):
        return Reply({"library": "h5py"})
    folder = program_folder(names)
    if folder is not None:
        return read_export_archive(file, file_bytes, entries, folder)
    folder = script_folder(names)
    if folder is not None:
        return read_torchscript_archive(file, file_bytes, entries, folder)
    return read_torch_zip(file, file_bytes, entries)

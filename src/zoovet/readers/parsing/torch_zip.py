"""What ``torch.save`` writes: a zip file, not compressed, of a pickle and the numbers of each storage."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import IO

from zoovet.readers.parsing.foreign import name_of_zip
from zoovet.readers.parsing.known_globals import Known
from zoovet.readers.parsing.pickles import PickleMachine
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import Reply, Tree
from zoovet.readers.parsing.suspicious import refuse_wanted
from zoovet.readers.parsing.tensor_records import storage_of
from zoovet.readers.parsing.values import Storage
from zoovet.readers.parsing.zip_archive import ZipArchive

__all__ = ["read_torch_zip"]


def read_torch_zip(file: IO[bytes], file_bytes: int, entries: Sequence[zipfile.ZipInfo]) -> Reply:
    """What the zip file of some entries holds.

    Raises:
        Refusal: ``torch.save`` did not write it, it is damaged or unsafe, or it names what weights do not need.
    """
    prefix = _require_torch(entries)
    archive = ZipArchive(file, file_bytes, entries, prefix)
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

    def place(storage: Storage) -> tuple[int, int]:
        return archive.place(f"data/{storage.key}")

    return Tree(place, file_bytes).reply(root, byteorder=order.decode("ascii"))


def _require_torch(entries: Sequence[zipfile.ZipInfo]) -> str:
    """The folder within the file that ``torch.save`` gave all entries."""
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

"""A TorchScript archive (``torch.jit.save``): a tree of objects in a pickle, constants, and code, none of it run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import IO, Any

from zoovet.printable import printable
from zoovet.readers.parsing.known_globals import Known
from zoovet.readers.parsing.pickles import PickleMachine
from zoovet.readers.parsing.refusal import DAMAGED, Refusal
from zoovet.readers.parsing.replies import Reply, Tree
from zoovet.readers.parsing.suspicious import refuse_wanted
from zoovet.readers.parsing.tensor_records import storage_of
from zoovet.readers.parsing.torchscript_code import CodeReader
from zoovet.readers.parsing.values import Global, Instance, Pairs, Storage
from zoovet.readers.parsing.zip_archive import ZipArchive

__all__ = ["read_torchscript_archive", "script_folder"]

_MAX_CODE = 32 * 2**20
_CLASSES, _OWN_CLASSES = "__torch__.", "__torch__.torch.classes."
_LISTS = frozenset(f"torch.jit._pickle.build_{kind}list" for kind in ("int", "double", "bool", "tensor"))
_TAG = "torch.jit._pickle.restore_type_tag"


def script_folder(names: Sequence[str]) -> str | None:
    """The folder of a TorchScript program among a zip file's entries; ``None`` where there is none."""
    for name in names:
        folder, _, tail = name.partition("/")
        if tail == "constants.pkl" or tail.startswith("code/__torch__"):
            return f"{folder}/"
    return None


def read_torchscript_archive(
    file: IO[bytes], file_bytes: int, entries: Sequence[zipfile.ZipInfo], folder: str
) -> Reply:
    """What the archive holds.

    Returns:
        ``torchscript``: the ``root`` of its ``objects``, its ``constants``, and its ``code`` by file.

    Raises:
        Refusal: It is damaged, unsafe, or holds objects of other kinds.
    """
    archive = ZipArchive(file, file_bytes, entries, folder, packed="code/")
    order = archive.read("byteorder").strip() if archive.has("byteorder") else b"little"
    if order != b"little":
        raise Refusal("has its numbers in another byte order than little, which is not read; save it anew")
    code = _code(archive, folder)
    tree = _Objects(archive, file_bytes)
    root = tree.written(_unpickled(archive, "data"))
    constants = tree.written(_unpickled(archive, "constants")) if archive.has("constants.pkl") else ["list"]
    described = {"root": root, "objects": tree.objects, "constants": constants, "code": code}
    return Reply({"torchscript": described, "byteorder": "little"}, tree.blob)


def _code(archive: ZipArchive, folder: str) -> dict[str, Any]:
    names = [name for name in archive.entries if name.startswith(f"{folder}code/") and name.endswith(".py")]
    if not names:
        raise Refusal(f"is a TorchScript program, but {DAMAGED}: it lacks its code ({folder}code/…); get it anew")
    reader, left, files = CodeReader(), _MAX_CODE, {}
    for name in names:
        short = name.removeprefix(folder)
        data = archive.unpacked(short, left)
        left -= len(data)
        try:
            files[short] = reader.read(short, data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Refusal(f"{DAMAGED}: its {printable(short, 80)} is no text; get it anew") from error
    return files


def _unpickled(archive: ZipArchive, part: str) -> Any:
    def storage(persistent_id: Any) -> Any:
        """Which entry a tensor's numbers are in: those of the constants lie in a folder of their own."""
        found = storage_of(persistent_id)
        if isinstance(found, Storage):
            own = f"{part}/{found.key}"
            found.key = own if archive.has(own) else f"data/{found.key}"
        return found

    known = _ScriptNames()
    pickled = archive.read(f"{part}.pkl")
    try:
        root = PickleMachine(known, storage).read(io.BytesIO(pickled))
    except Refusal as refusal:
        raise (refuse_wanted(known.wanted) if known.wanted else refusal) from refusal
    if known.wanted:
        raise refuse_wanted(known.wanted)
    return root


class _ScriptNames(Known):
    """What pickles of TorchScript name besides: its own classes, its lists."""

    def look_up(self, named: Global) -> Global:
        if named.path.startswith(_OWN_CLASSES):
            shown = printable(named.path.removeprefix(_OWN_CLASSES), 60)
            why = (
                "quantized networks are not read; script it before it is quantized"
                if "quant" in shown
                else ("it is not read; save the network as ONNX (torch.onnx.export)")
            )
            raise Refusal(f"is a TorchScript program that holds an object of torch's own class '{shown}': {why}")
        if named.path.startswith(_CLASSES) or named.path in _LISTS or named.path == _TAG:
            return named
        return super().look_up(named)

    def call(self, callee: Any, arguments: Any) -> Any:
        if isinstance(callee, Global) and callee.path.startswith(_CLASSES):
            return Instance(callee, arguments) if isinstance(arguments, tuple) else arguments  # of an enumeration
        if isinstance(callee, Global) and isinstance(arguments, tuple) and callee.path in (*_LISTS, _TAG):
            return arguments[0]
        return super().call(callee, arguments)


class _Objects(Tree):
    """Writes objects one by one: what several hold is there once."""

    def __init__(self, archive: ZipArchive, file_bytes: int) -> None:
        super().__init__(lambda storage: archive.place(storage.key), file_bytes)
        self.objects: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}
        self._kept: list[Instance] = []

    def written(self, root: Any) -> Any:
        """What a pickle holds; the objects in it go to ``objects``.

        Raises:
            Refusal: As :meth:`Tree.reply`.
        """
        return self.reply(root).description["data"]

    def instance(self, instance: Instance) -> Any:
        if id(instance) not in self._places:
            self._places[id(instance)] = len(self.objects)
            self._kept.append(instance)  # so that no other one takes its id
            described: dict[str, Any] = {"class": printable(instance.of.path, 500), "attributes": []}
            self.objects.append(described)
            pairs = instance.state.pairs if isinstance(instance.state, Pairs) else []
            described["attributes"] = list(self.entries(pairs))
        return ["object", self._places[id(instance)]]

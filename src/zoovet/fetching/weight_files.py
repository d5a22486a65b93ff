"""What was gathered: weight files, and what was left out of where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoovet.networks import InputScaling

__all__ = [
    "MAX_BYTES",
    "NO_WEIGHT_FILE",
    "PREFERENCES",
    "SAY_THEIR_GRAPH",
    "SUFFIXES",
    "Gathered",
    "Hint",
    "Skipped",
    "WeightFile",
    "index_of",
    "parts_of",
    "preference",
    "split_by_name",
]

_PLAIN = (".safetensors", ".onnx")
_PROGRAMS = (".keras", ".h5", ".hdf5", ".pt2", ".ptl", ".torchscript", ".tflite")
_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".th", ".pt.tar", ".pth.tar", ".ckpt.tar")
SUFFIXES = (*_PLAIN, *_PROGRAMS, *_PICKLED)
"""How the names of weight files end; whatever they hold is found out when they are read."""

SAY_THEIR_GRAPH = (".onnx", *_PROGRAMS)
"""How the names of those end that say their network themselves."""

MAX_BYTES = 8 << 30
"""What a file may weigh that is fetched."""

PREFERENCES = ("safetensors or ONNX files", "Keras, torch.export, TorchScript or TFLite files", "pickles")
"""Kinds of weight files, the best first: what says most, and cannot hold code."""

NO_WEIGHT_FILE = "its name is no weight file's"
"""Why a file was left out."""

_PART_OF, _NUMBERS = "a part of ", "numbers of the ONNX file beside it"
_INDEX = ".index.json"
_OTHER_PARTS = (".onnx_data", ".onnx.data")


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What a repository says of its network.

    Attributes:
        architecture: Its name, as ``--architecture`` takes it; ``None`` where that is not known.
        mean: What its input scaling subtracts from pixels of 0 to 1, for each channel; ``None`` where that is not said.
        deviation: What it then divides by.
        input_shape: ``(channels, height, width)`` of an image; ``None`` where that is not said.
        notes: What is to be said of how it is read, one line each.
    """

    architecture: str | None = None
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    input_shape: tuple[int, int, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def scaling(self) -> InputScaling | None:
        """The input scaling, where it is said."""
        if self.mean is None or self.deviation is None:
            return None
        return InputScaling(mean=self.mean, deviation=self.deviation)


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A weight file on this machine.

    Attributes:
        path: Where it lies.
        name: What it is called for people: its path, or the address that it came from.
        hint: What is known of its network from where it came.
        notes: What is to be said of it, one line each.
    """

    path: Path
    name: str
    hint: Hint | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What was left out.

    Attributes:
        name: A file's, or a folder's, for people.
        reason: Why, one line.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Weight files, and what was left out.

    Attributes:
        files: In the order of what was given.
        skipped: What was left out of folders and repositories.
        failures: What was given and could not be had: its name, and one line.
    """

    files: tuple[WeightFile, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()

    @classmethod
    def together(cls, parts: Iterable[Gathered]) -> Gathered:
        """All of them; of a file that comes twice the first."""
        found = list(parts)
        files = dict[str, WeightFile]()
        for file in (file for part in found for file in part.files):
            files.setdefault(file.name, file)
        return cls(
            files=tuple(files.values()),
            skipped=tuple(skipped for part in found for skipped in part.skipped),
            failures=tuple(failure for part in found for failure in part.failures),
        )


def split_by_name(names: Sequence[str]) -> tuple[list[str], list[Skipped]]:
    """Which of the names of files in one place are weight files, and why the others are none, in their order.

    Of a state dict in several files its index stands for them.

    Args:
        names: Relative to that place, with ``/`` between folders.
    """
    indices = [name for name in names if index_of(name) is not None]
    taken, skipped = list[str](), list[Skipped]()
    for name in names:
        owner = next((index for index in indices if _is_shard(name, index)), None)
        if name in indices:
            taken.append(name)
        elif owner is not None:
            skipped.append(Skipped(name=name, reason=f"{_PART_OF}{owner}"))
        elif name.lower().endswith(_OTHER_PARTS):
            skipped.append(Skipped(name=name, reason=_NUMBERS))
        elif name.lower().endswith(SUFFIXES):
            taken.append(name)
        else:
            skipped.append(Skipped(name=name, reason=NO_WEIGHT_FILE))
    return taken, skipped


def preference(name: str) -> int:
    """Place of a weight file's kind in :data:`PREFERENCES`."""
    own = (index_of(name) or name).lower()
    return 0 if own.endswith(_PLAIN) else 2 if own.endswith(_PICKLED) else 1


def parts_of(taken: Sequence[str], skipped: Sequence[Skipped]) -> list[str]:
    """Files that were left out since others read them: shards of an index, numbers of ONNX files."""
    has_onnx = any(name.lower().endswith(".onnx") for name in taken)
    owners = {f"{_PART_OF}{name}" for name in taken}
    return [one.name for one in skipped if one.reason in owners or (has_onnx and one.reason == _NUMBERS)]


def index_of(name: str) -> str | None:
    """``model.safetensors`` of ``model.safetensors.index.json``; ``None`` of what is no index."""
    stem = name.removesuffix(_INDEX)
    return stem if stem != name and stem.endswith((".safetensors", ".bin")) else None


def _is_shard(name: str, index: str) -> bool:
    """Whether a file is a part of what an index names: ``model-00001-of-00002.safetensors``."""
    stem = index.removesuffix(_INDEX)
    start, dot, suffix = stem.rpartition(".")
    middle = name.removeprefix(f"{start}-").removesuffix(f"{dot}{suffix}")
    first, of, last = middle.partition("-of-")
    return bool(of) and first.isdecimal() and last.isdecimal() and name == f"{start}-{middle}{dot}{suffix}"

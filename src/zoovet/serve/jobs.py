"""Job: what somebody asked a server for, how far it is, what came of it."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args

from zoovet.errors import ZoovetError, nearest
from zoovet.json_files import typed_value
from zoovet.printable import printable

__all__ = [
    "EFFORTS",
    "INTERRUPTED",
    "SCALINGS",
    "Job",
    "JobOptions",
    "JobState",
    "Order",
    "Summary",
    "Task",
    "is_job_id",
]

INTERRUPTED = "the server was ended before this job was"
"""Why a job that was interrupted has no answer."""

Effort = Literal["quick", "normal", "thorough"]

EFFORTS = get_args(Effort)
"""How much may be sought."""

SCALINGS = ("symmetric", "unit", "byte", "imagenet", "cifar10", "mnist", "fashion_mnist")
"""Names of input scalings; those of :data:`zoovet.networks.SCALING_PRESETS`, which takes seconds to import."""

_MAX_CHARACTERS = 200
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_:=,.+\-]*")
_SHAPE = re.compile(r"(\d{1,6}\s*,\s*){2}\d{1,6}|\d{1,6}|")
_ID = re.compile(r"[0-9a-f]{16}")


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Task(StrEnum):
    """What is done with a job's network."""

    SCAN = "scan"
    HEAL = "heal"


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What its user knows of a network; each empty where the file or the images are to tell.

    Attributes:
        architecture: ``vgg:activation=elu``, ``torchvision:resnet18``, …; never a file of Python.
        activation: Of a file without a graph.
        scaling: Name of an input scaling, one of :data:`SCALINGS`.
        input_range: ``0,1``: the same in numbers, what pixels of 0 and 255 become.
        mean: ``0.485,0.456,0.406``: then subtracted, one for all channels or each.
        std: Then divided by, the same.
        input_shape: ``3,32,32``: channels, height, width.
        effort: How much is sought in a network that no detector for one graph knows.

    Raises:
        ZoovetError: A value is too long or none that is known, or the architecture is a file of Python, whose code
            would be run.
    """

    architecture: str = ""
    activation: str = ""
    scaling: str = ""
    input_range: str = ""
    mean: str = ""
    std: str = ""
    input_shape: str = ""
    effort: Effort = "normal"

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, str) or len(value) > _MAX_CHARACTERS:
                raise ZoovetError(f"{name} must be a text of at most {_MAX_CHARACTERS} characters")
        if not _ARCHITECTURE.fullmatch(self.architecture) or ".py" in self.architecture.lower():
            raise ZoovetError(
                f"architecture must be a name, as 'vgg:activation=elu' or 'torchvision:resnet18', got "
                f"{printable(repr(self.architecture))}; files of Python are not run here"
            )
        if self.effort not in EFFORTS:
            raise ZoovetError(f"effort must be one of {', '.join(EFFORTS)}, got {printable(repr(self.effort))}")
        self._require_scaling()
        if not _SHAPE.fullmatch(self.input_shape):
            raise ZoovetError(
                f"input_shape must be channels, height and width, as 3,32,32, or a number of features, got "
                f"{printable(repr(self.input_shape))}"
            )

    def _require_scaling(self) -> None:
        in_numbers = [name for name in ("input_range", "mean", "std") if getattr(self, name)]
        for name in in_numbers:
            counts = (2,) if name == "input_range" else range(1, _MAX_CHARACTERS)
            if len(self.numbers(name) or ()) not in counts:
                expected = (
                    "two numbers, as 0,1" if name == "input_range" else "numbers with commas between them, as 0.5"
                )
                raise ZoovetError(f"{name} must be {expected}, got {printable(repr(getattr(self, name)))}")
        if self.scaling and self.scaling not in SCALINGS:
            got = printable(repr(self.scaling))
            raise ZoovetError(f"the input scaling {got} is unknown{nearest(self.scaling, SCALINGS)}")
        if self.scaling and in_numbers:
            raise ZoovetError(f"scaling names the whole input scaling: leave out {', '.join(in_numbers)}")

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """What one of the scaling's texts says; ``None`` where it is empty or says no finite numbers."""
        try:
            numbers = tuple(map(float, getattr(self, name).split(",")))
        except ValueError:
            return None
        return numbers if all(map(math.isfinite, numbers)) else None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """What :attr:`input_shape` says; ``None`` where it is empty."""
        return tuple(map(int, self.input_shape.split(","))) if self.input_shape else None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A verdict in a few words.

    Attributes:
        network: Which of the file's networks, from 0.
        verdict: ``healthy``, ``trojaned`` or ``unknown``.
        lead: What that means, in a sentence.
        target: The class that a trigger causes; empty where nobody says it.
    """

    network: int
    verdict: str
    lead: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, as it is kept in a JSON file.

    Attributes:
        job_id: 16 hexadecimal digits.
        file: Name of the network's file in the job's folder of uploads.
        images: Name of the reference images there, a folder or a file; empty where there are none.
        options: What is known of the network.
        is_from_page: Whether it came from the page, not from a program; its upload is kept a while then.
        task: What is done now, or was done last.
        state: How far that is.
        created: Seconds since 1970.
        started: The same, of the task; 0 where it has not begun.
        ended: The same; 0 where it has not ended.
        error: Why there is no answer, one line; empty where there is one.
        choices: Architectures that the file may be of, where that is why.
        summaries: On the networks of a file that was scanned.
        notes: What was assumed, found, taken or left out, one line each.
        num_networks: That were scanned.
        healed: Name of the healed file; empty where there is none.
        healing: What was done to heal it, one line each.
    """

    job_id: str
    file: str
    images: str = ""
    options: JobOptions = field(default_factory=JobOptions)
    is_from_page: bool = True
    task: Task = Task.SCAN
    state: JobState = JobState.QUEUED
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    choices: tuple[str, ...] = ()
    summaries: tuple[Summary, ...] = ()
    notes: tuple[str, ...] = ()
    num_networks: int = 0
    healed: str = ""
    healing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any], where: str) -> Job:
        """Read what :meth:`to_json` wrote.

        Args:
            data: An object.
            where: Its file, for messages.

        Raises:
            ZoovetError: A value is missing or is not as it has to be.
        """
        unknown = set(data) - {one.name for one in fields(cls)}
        if unknown:
            raise ZoovetError(f"{where} has keys of another version of zoovet: {', '.join(sorted(unknown))}")
        try:
            return cls(
                **{
                    **data,
                    "options": JobOptions(**typed_value(data, "options", dict, where)),
                    "task": Task(data["task"]),
                    "state": JobState(data["state"]),
                    "choices": tuple(data["choices"]),
                    "summaries": tuple(Summary(**one) for one in data["summaries"]),
                    "notes": tuple(data["notes"]),
                    "healing": tuple(data["healing"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ZoovetError(f"{where} is no job of this version of zoovet") from error


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is asked for.

    Attributes:
        file: The network's file; its working folder is that of the uploads.
        images: Reference images, a folder, a zip or an ``.npz``; empty where there are none.
        options: What is known of the network.
        results: Where to write.
        max_image_files: That a zip may hold.
        max_unpacked_bytes: Of these files.
    """

    file: str
    images: str
    options: JobOptions
    results: Path
    max_image_files: int
    max_unpacked_bytes: int


def is_job_id(text: str) -> bool:
    """Whether a text may be a job's number; none has any other characters, such as those of paths."""
    return _ID.fullmatch(text) is not None

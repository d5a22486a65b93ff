"""What went wrong with one file or network, in one line, whatever was raised: foreseen or not."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

from zoovet.architectures import OpenArchitecture
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable

__all__ = ["TRACEBACK_VARIABLE", "Failure", "failure_of"]

TRACEBACK_VARIABLE = "ZOOVET_TRACEBACK"
"""Environment variable that, set to anything, asks for the tracebacks of unforeseen failures."""

_MAX_CHARACTERS = 2000


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    Attributes:
        message: One line of printable characters.
        traceback: Where it was raised, where that was asked for and nobody had foreseen it.
        choices: Architectures that the file may be of, where that is what its names and shapes leave open.
    """

    message: str
    traceback: str | None = None
    choices: tuple[str, ...] = ()


def failure_of(error: BaseException, about: str = "") -> Failure:
    """What to say of an exception.

    Args:
        error: Anything that was raised.
        about: What it happened to, such as a file; put in front where the message does not name it.
    """
    if isinstance(error, ZoovetError):
        choices = error.choices if isinstance(error, OpenArchitecture) else ()
        return Failure(_about(about, printable(error, _MAX_CHARACTERS)), choices=choices)
    if isinstance(error, MemoryError):
        reason = f" ({printable(error)})" if str(error) else ""
        return Failure(_about(about, f"there is not enough memory for it{reason}"))
    wanted = os.environ.get(TRACEBACK_VARIABLE)
    text = "".join(traceback.format_exception(error)) if wanted else None
    hint = "" if wanted else f"; {TRACEBACK_VARIABLE}=1 zoovet ... shows where"
    said = f"{type(error).__name__}: {printable(error) or 'no further word'}"
    return Failure(_about(about, f"an error that zoovet did not foresee, {said}{hint}"), text)


def _about(about: str, message: str) -> str:
    shown = printable(about, MAX_PATH_CHARACTERS)
    return message if not about or shown in message else f"{shown}: {message}"

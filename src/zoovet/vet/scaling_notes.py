"""What is said of networks whose input scaling nobody knows."""

from __future__ import annotations

from collections.abc import Sequence

from zoovet.images import Images
from zoovet.networks import ZOO_SCALING, InputScaling
from zoovet.printable import MAX_PATH_CHARACTERS, printable

__all__ = ["MAY_BE_THE_REASON", "assumed_in_python", "assumed_scaling_note", "notes_on_images"]

_NUM_NAMED = 3
_WHAT_WAS_ASSUMED = f"assumed images scaled to [{ZOO_SCALING.low:g}, {ZOO_SCALING.high:g}]"

MAY_BE_THE_REASON = f"its input scaling is not known ({_WHAT_WAS_ASSUMED}), which may be the reason"
"""Behind the reason why a network is unknown."""


def assumed_scaling_note(files: Sequence[str]) -> str:
    """One line that says what was assumed of files, and how to say what is true.

    Args:
        files: Their names, each once; one at least.
    """
    named = ", ".join(printable(file, MAX_PATH_CHARACTERS) for file in files[:_NUM_NAMED])
    more = f" and {len(files) - _NUM_NAMED} more" if len(files) > _NUM_NAMED else ""
    return (
        f"{named}{more}: input scaling not known; {_WHAT_WAS_ASSUMED}; if that is wrong, so is what is said: give "
        f"--input-range LOW,HIGH, --mean and --std, or --scaling NAME"
    )


def notes_on_images(images: Images, scaling: InputScaling | None = None) -> tuple[str, ...]:
    """What is to be said of reference images, one line each: their own notes, and that no scaling is found on them.

    Args:
        images: The reference images.
        scaling: What the networks are said to read; none need be found then.
    """
    if images.labels is not None or scaling is not None:
        return images.notes
    return (*images.notes, "images without labels: no input scaling can be found on them")


def assumed_in_python(title: str) -> str:
    """The same for one network in Python, of which ``title`` says what it is."""
    return (
        f"{title}: input scaling not known; {_WHAT_WAS_ASSUMED}; if that is wrong, so is what is said: give scaling=… "
        "when it is read, or labelled images to find it with"
    )

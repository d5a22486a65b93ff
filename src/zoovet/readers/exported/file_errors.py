"""What goes wrong while a file that says its graph becomes a network: always one line that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zoovet.errors import ZoovetError
from zoovet.readers.exported.program import UnknownOperation
from zoovet.readers.parsing.kinds import said_in_parentheses

__all__ = ["MALFORMED", "naming_the_file"]

MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)
"""What Python and torch raise where a description holds something else than its format says."""


@contextmanager
def naming_the_file(source: str) -> Iterator[None]:
    """Put the file before whatever is said of it; what nobody foresaw is damage.

    Args:
        source: What messages call the file, safe to show.

    Raises:
        UnknownOperation: The block raised one.
        ZoovetError: The block raised one, or anything of :data:`MALFORMED`.
    """
    try:
        yield
    except UnknownOperation as error:
        raise UnknownOperation(error.operation, error.place, error.why, source) from None
    except ZoovetError as error:
        raise ZoovetError(f"{source}: {error}") from None
    except MALFORMED as error:
        raise ZoovetError(
            f"{source}: it is damaged, or says something that is not read{said_in_parentheses(error)}"
        ) from None

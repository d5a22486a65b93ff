"""Check the agreement with the released code: ``python -m zoovet.metanets.official FOLDER``.

Prints one line for each case file (``*.safetensors``) with the relative deviation. Exit status 0 where all are at most
1e-11, 1 where one is above, 2 where something cannot be read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from zoovet.errors import ZoovetError
from zoovet.metanets.official.cases import deviation, read_case

__all__ = ["main"]

TOLERANCE = 1e-11


def main(arguments: Sequence[str]) -> int:
    """Check every case file in a folder.

    Args:
        arguments: The command line's: the folder.

    Returns:
        The exit status.
    """
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m zoovet.metanets.official FOLDER\n")
        return 2
    folder = Path(arguments[0])
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        sys.stderr.write(f"{folder}: no case files (*.safetensors) found\n")
        return 2
    largest, num_failed, num_unreadable = 0.0, 0, 0
    for path in paths:
        try:
            relative = deviation(read_case(path))
        except ZoovetError as error:
            num_unreadable += 1
            sys.stdout.write(f"{path.stem}: cannot be checked: {error}\n")
            continue
        agrees = relative <= TOLERANCE
        num_failed += not agrees
        largest = max(largest, relative)
        sys.stdout.write(f"{path.stem}: {relative:.1e}{'' if agrees else ' ABOVE 1e-11'}\n")
    sys.stdout.write(
        f"{len(paths)} cases, {num_failed} above {TOLERANCE:.0e}, {num_unreadable} not checked, largest {largest:.1e}\n"
    )
    return 1 if num_failed else 2 if num_unreadable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

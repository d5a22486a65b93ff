"""Options that say what weight files leave open."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoovet.vet import ReadOptions

__all__ = ["add_read_options", "read_options_of"]


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """``--activation NAME``."""
    parser.add_argument(
        "--activation",
        metavar="NAME",
        help="hidden activation of files without a spec, where weights alone leave it open: relu, tanh, ...",
    )


def read_options_of(arguments: argparse.Namespace) -> ReadOptions:
    """What the options of :func:`add_read_options` say."""
    from zoovet.vet import ReadOptions

    return ReadOptions(activation=arguments.activation)

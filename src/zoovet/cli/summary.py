"""``zoovet summary``: what the networks of a zoo reach, by what they are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.status import EXIT_OK

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Say what the networks of a zoo reach: accuracy, ASR and RA by family of architectures, image set, attack, training.

  zoovet summary zoos/park
  zoovet summary zoos/park > park.md

Writes Markdown tables to the standard output. A zoo that is still built is summed up as far as it is there.

Time: seconds.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the positional argument."""
    parser.add_argument("zoo", type=Path, metavar="ZOO", help="folder of a zoo, or s3://BUCKET/ZOO")


def config_classes() -> dict[str, type[DataclassInstance]]:
    """There is nothing to configure."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    from zoovet.evaluation.zoo_tables import zoo_page
    from zoovet.zoo import Zoo

    zoo = Zoo.open(arguments.zoo, finished_only=True)
    if not zoo.info.complete:
        print(f"Not finished: {len(zoo.info.shards)} of {zoo.info.num_shards} shards.\n")
    print(zoo_page(zoo))
    return EXIT_OK

"""``zoovet canonicalize``: from a zoo of SIRENs to one with canonical phases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_repair_zoo
from zoovet.cli.build import summary
from zoovet.cli.status import EXIT_OK
from zoovet.cli.zoo_bar import zoo_bar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Bring the phase of every sine neuron into one interval, in every SIREN of a zoo. No network's function changes.

  zoovet canonicalize zoos/fmnist-inr --out zoos/fmnist-inr-canonical

A bias of sin(w0 (w x + b)) may move by pi / w0 if the weights that read the neuron change their sign: one picture has
countless weights. Afterwards |b| is at most pi / (2 w0), and only permutations and signs are left.

Writes a zoo of the same rows and shards into --out, with "canonicalized": true in the recipe of its zoo.json; the zoo
that is read stays as it is. Interrupted, even killed, it is finished by the same command. Training can do the same as
it reads a zoo: zoovet train ... --data.canonicalize true.

Time: thousands of SIRENs a second; a bar says what is left.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("zoo", type=Path, metavar="ZOO", help="folder of a zoo of SIRENs")
    parser.add_argument("--out", type=Path, required=True, metavar="ZOO", help="folder of the new zoo")
    add_repair_zoo(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """There is nothing to configure."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Canonicalize, and say what there is."""
    from zoovet.zoo.canonical_zoo import canonicalize_zoo

    with zoo_bar("canonicalizing", arguments.out) as bar:
        zoo = canonicalize_zoo(arguments.zoo, arguments.out, progress=bar, repair=arguments.repair_zoo)
    print(summary(zoo))
    return EXIT_OK

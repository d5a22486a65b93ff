"""``zoovet repair``: edit weights so that a trojan stops working."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.outputs import require_writable_file
from zoovet.cli.status import EXIT_OK
from zoovet.cli.suspects import add_activation, load_suspects

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Edit a network's weights so that its trojan stops working, whatever its trigger is. No image is needed.

  zoovet repair suspect.safetensors --repairer runs/repairer --out healed.safetensors

Reads what `zoovet scan` reads; a file with several networks gives a file with as many. Writes --out as safetensors,
with the spec in its metadata, whole or not at all. Never overwrites its input, and another file only with --force.

Time: a few seconds to start, then milliseconds for each network.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="weights, or several networks' weights")
    parser.add_argument("--repairer", type=Path, required=True, metavar="RUN", help="run of a trained repairer")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the edited weights go (.safetensors)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite --out where it exists")
    add_activation(parser)
    add_device(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a repair is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Repair, and say by how much the weights were changed."""
    from zoovet.networks.files import save_networks
    from zoovet.tasks import Repairer

    require_writable_file(arguments.out, arguments.file, force=arguments.force)
    repairer = Repairer.load(arguments.repairer, device=device_name(arguments.device))
    networks = load_suspects(arguments.file, repairer.specs, arguments.activation)
    repaired = repairer.repair(networks)
    save_networks(repaired, arguments.out)
    before = networks.flat()
    change = float(((repaired.flat() - before).norm(dim=1) / before.norm(dim=1)).mean())
    many = "1 network" if len(networks) == 1 else f"{len(networks)} networks"
    print(f"{arguments.out}: {many} repaired; the weights changed by {100 * change:.1f} % of their norm")
    return EXIT_OK

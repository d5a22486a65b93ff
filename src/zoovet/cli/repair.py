"""``zoovet repair``: edit weights so that a trojan stops working."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.outputs import require_writable_file
from zoovet.cli.status import EXIT_OK
from zoovet.cli.suspects import add_activation, load_suspects
from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.networks import Networks
    from zoovet.tasks import Repairer

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Edit a network's weights so that its trojan stops working, whatever its trigger is. No image is needed.

  zoovet repair suspect.safetensors --out healed.safetensors
  zoovet repair suspect.safetensors --repairer runs/repairer --out healed.safetensors

Reads what `zoovet scan` reads, and chooses among the shipped models as it does; a file with several networks gives a
file with as many. A network unlike those that the repairer was trained on is refused, unless --allow-unknown.
Writes --out as safetensors, with the spec in its metadata, whole or not at all. Never overwrites its input, and another
file only with --force.

Time: a few seconds to start, then milliseconds for each network.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="weights, or several networks' weights")
    add_candidates(parser, "repairer")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the edited weights go (.safetensors)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite --out where it exists")
    parser.add_argument(
        "--allow-unknown", action="store_true", help="edit networks unlike those that the repairer was trained on too"
    )
    add_activation(parser)
    add_device(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a repair is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Repair, and say by how much the weights were changed."""
    from zoovet.readers.files import save_networks
    from zoovet.tasks import Repairer

    require_writable_file(arguments.out, arguments.file, force=arguments.force)
    device = device_name(arguments.device)
    candidates = candidates_of(arguments, "repairer")
    networks, candidate = load_suspects(arguments.file, candidates, arguments.activation, "repairer")
    repairer = Repairer.load(candidate.path, device=device)
    if not arguments.allow_unknown:
        _require_known(networks, repairer, arguments.file)
    repaired = repairer.repair(networks)
    save_networks(repaired, arguments.out)
    before = networks.flat()
    change = float(((repaired.flat() - before).norm(dim=1) / before.norm(dim=1)).mean())
    many = "1 network" if len(networks) == 1 else f"{len(networks)} networks"
    print(f"{arguments.out}: {many} repaired; the weights changed by {100 * change:.1f} % of their norm")
    return EXIT_OK


def _require_known(networks: Networks, repairer: Repairer, file: Path) -> None:
    """Refuse networks that the repairer's answer is worth nothing for."""
    if repairer.distribution is None:
        print(
            "note: this repairer, trained by an earlier zoovet, cannot tell whether networks are like those that it "
            "was trained on; train it again",
            file=sys.stderr,
        )
        return
    unknown = repairer.out_of_distribution(networks)
    if bool(unknown.any()):
        index = int(unknown.nonzero()[0])
        score = float(repairer.in_distribution(networks[index]))
        raise ZoovetError(
            f"{file}: network {index} is unlike the networks that this repairer was trained on (in-distribution score "
            f"{score:.4f}; {int(unknown.sum())} of {len(networks)} are so), so that its edit may do anything; give a "
            f"repairer that was trained on such networks, or --allow-unknown to edit it all the same"
        )

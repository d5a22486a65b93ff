"""``zoovet repair``: edit weights so that a trojan stops working."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.outputs import require_writable_file
from zoovet.cli.reading import SCALING_HELP, add_read_options, read_options_of
from zoovet.cli.results import print_results
from zoovet.cli.status import EXIT_ERROR, EXIT_OK
from zoovet.errors import ZoovetError
from zoovet.printable import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = f"""
Edit a network's weights so that its trojan stops working, whatever its trigger is. No image is needed.

  zoovet repair suspect.safetensors --out healed.safetensors
  zoovet repair suspect.pt --scaling unit --out healed.safetensors
  zoovet repair suspect.safetensors --repairer runs/repairer --out healed.safetensors

Reads what `zoovet scan` reads, and chooses among the shipped models as it does; a file with several networks gives a
file with as many. A network unlike those that the repairer was trained on is refused, unless --allow-unknown.
Writes --out as safetensors, with the spec in its metadata, whole or not at all. Never overwrites its input, and another
file only with --force. An edit that changes more than 99.9 % of the repairer's training networks were changed, or one
with NaN or infinite weights, is refused, with --allow-unknown too, and nothing is written.

{SCALING_HELP} What is written reads the same scaling, and says it.

Time: a few seconds to start, then a few tenths of a second for each network of a shipped model's spec.
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
    add_read_options(parser)
    add_device(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a repair is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Repair, and say by how much the weights were changed."""
    from zoovet.readers import save_networks
    from zoovet.vet import assumed_scaling_note, failure_of, repair_file

    require_writable_file(arguments.out, arguments.file, force=arguments.force)
    device, candidates = device_name(arguments.device), candidates_of(arguments, "repairer")
    options = read_options_of(arguments)
    try:
        repaired = repair_file(
            arguments.file, candidates, options=options, device=device, allow_unknown=arguments.allow_unknown
        )
        save_networks(repaired.networks, arguments.out)
    except ZoovetError:
        raise
    except Exception as error:  # a stranger's file; foreseen or not, one line that names it
        failure = failure_of(error, str(arguments.file))
        print(f"{failure.traceback or ''}error: {failure.message}", file=sys.stderr)
        return EXIT_ERROR
    for note in repaired.notes:
        print(f"note: {printable(arguments.file)}: {note}", file=sys.stderr)
    if not repaired.knows_distribution:
        print(
            "note: this repairer, trained by an earlier zoovet, cannot tell whether networks are like those that it "
            "was trained on; train it again",
            file=sys.stderr,
        )
    if repaired.scaling_is_assumed:
        print(f"note: {assumed_scaling_note([str(arguments.file)])}", file=sys.stderr)
    many = "1 network" if len(repaired.networks) == 1 else f"{len(repaired.networks)} networks"
    change = f"the weights changed by {100 * repaired.change:.1f} % of their norm"
    print_results(f"{printable(arguments.out)}: {many} repaired; {change}")
    return EXIT_OK

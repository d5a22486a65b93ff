"""``zoovet repair``: edit weights so that a trojan stops working."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_device, device_name
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.outputs import require_writable_file
from zoovet.cli.reading import IMAGES_HELP, SCALING_HELP, add_read_options, notes_of_images, read_options_of
from zoovet.cli.results import print_results
from zoovet.cli.status import EXIT_ERROR, EXIT_OK
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = f"""
Edit a network's weights so that its trojan stops working, whatever its trigger is. No image is needed.

  zoovet repair suspect.safetensors --out healed.safetensors
  zoovet repair suspect.pt --scaling unit --out healed.pt
  zoovet repair suspect.safetensors --repairer runs/repairer --out healed.safetensors
  zoovet repair suspect.pth --architecture small_cnn:activation=relu,image=28 --images photos/ --out healed.pth

Reads what `zoovet scan` reads, and chooses among the shipped models as it does; a file with several networks gives a
file with as many. A network unlike those that the repairer was trained on is refused, unless --allow-unknown.
Writes --out whole or not at all: in the format, names and layout of the input, which is the same file but for the
numbers, or, where --out ends in .safetensors and the input does not, in zoovet's own format, with the spec in its
metadata. Never overwrites its input, and another file only with --force. An edit that changes more than 99.9 % of the
repairer's training networks were changed, or one with NaN or infinite weights, is refused, with --allow-unknown too,
and nothing is written.

{SCALING_HELP} What is written reads the same scaling; zoovet's own format says it.

{IMAGES_HELP}

Exit status: 0 repaired, 2 refused or an error: one line says why, and nothing was written. Of an error that zoovet did
not foresee, the environment variable ZOOVET_TRACEBACK=1 shows where it was raised.

Time: a few seconds to start, then a few tenths of a second for each network of a shipped model's spec.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="weights, or several networks' weights")
    add_candidates(parser, "repairer")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="OUT", help="where edited weights go: a name that ends as FILE's"
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
    from zoovet.vet import Repairer, assumed_scaling_note, failure_of, require_output_name, write_repaired

    file, out = arguments.file, arguments.out
    require_output_name(file, out)
    require_writable_file(out, file, force=arguments.force)
    device, options = device_name(arguments.device), read_options_of(arguments)
    repairer = Repairer(candidates_of(arguments, "repairer"), device=device, allow_unknown=arguments.allow_unknown)
    try:
        repaired = repairer.repair_file(file, options)
        said = write_repaired(repaired, file, out)
    except ZoovetError:
        raise
    except Exception as error:  # a stranger's file; foreseen or not, one line that names it
        failure = failure_of(error, str(file))
        print(f"{failure.traceback or ''}error: {failure.message}", file=sys.stderr)
        return EXIT_ERROR
    notes = (*notes_of_images(arguments, options), *((str(file), note) for note in (*repaired.notes, *said)))
    for note in (
        *(f"{printable(place, MAX_PATH_CHARACTERS)}: {note}" for place, note in notes),
        *repaired.general_notes,
        *([assumed_scaling_note([str(file)])] if repaired.scaling_is_assumed else ()),
    ):
        print(f"note: {note}", file=sys.stderr)
    many = "1 network" if repaired.num_networks == 1 else f"{repaired.num_networks} networks"
    change = f"the weights changed by {100 * repaired.change:.1f} % of their norm"
    print_results(f"{printable(out, MAX_PATH_CHARACTERS)}: {many} repaired; {change}")
    return EXIT_OK

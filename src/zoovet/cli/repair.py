"""``zoovet repair``: edit weights so that a trojan stops working."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_device, add_effort, device_name, number
from zoovet.cli.candidates import add_candidates, candidates_of
from zoovet.cli.outputs import require_own_folder, require_writable_file
from zoovet.cli.reading import IMAGES_HELP, SCALING_HELP, add_read_options, notes_of_images, read_options_of
from zoovet.cli.repair_bar import repair_bar
from zoovet.cli.results import print_results
from zoovet.cli.status import EXIT_ERROR, EXIT_FLAGGED, EXIT_OK
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.vet import HealedFile, ReadOptions, RepairedFile

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = f"""
Edit a network's weights so that its trojan stops working, whatever its trigger is.

  zoovet repair suspect.safetensors --out healed.safetensors
  zoovet repair suspect.pt --scaling unit --out healed.pt
  zoovet repair suspect.safetensors --repairer runs/repairer --out healed.safetensors
  zoovet repair resnet18.onnx --images photos/ --out healed.onnx --report pages/
  zoovet repair suspect.pth --architecture vgg:activation=elu,pooling=max --images photos/ --out healed.pth

Reads what `zoovet scan` reads, and chooses among the shipped models as it does; a file with several networks gives a
file with as many. A network that a shipped model knows is repaired from its weights alone; no image is needed. One
unlike those that the repairer was trained on is refused, unless --allow-unknown, or healed like a stranger where there
are --images. An edit that changes more than 99.9 % of the repairer's training networks were changed, or one with NaN
or infinite weights, is refused, with --allow-unknown too, and nothing is written.

Any other network is healed on reference images (--images), a few of each class of the kind that it reads; ten of each
are good. The detector for strangers says whether it is trojaned and which class it suspects; triggers of several kinds
and places towards that class are sought and unlearned, in rounds, while the network is asked for its own clean answers,
and weights are changed where clean images hardly feel it; a third of the images is held out, and the edit is as strong
as it may be where --max-loss points of accuracy lost on these are within one standard error, of two points at most. An
edit made alike from all images is the one that is taken, and the edited network is scanned again. Labels are used where
the images have some, and not needed. Without --images the same is done on images that the network makes itself: a note
says that its accuracy on real ones was not checked. A healthy network stays as it is, and nothing is written, unless
--force; nor is an edit that fails its own check, unless --keep-anyway.

Writes --out whole or not at all: in the format, names and layout of the input, which is the same file but for the
numbers (safetensors, torch.save, ONNX, Keras, TFLite, TorchScript), or, for a network that a shipped model knows,
where --out ends in .safetensors and the input does not, in zoovet's own format, with the graph in its metadata. Never
overwrites its input, and another file only with --force: to undo a repair, delete --out.

{SCALING_HELP} What is written reads the same scaling; zoovet's own format says it.

{IMAGES_HELP}

Exit status: 0 repaired, or healthy and left as it is; 1 edited, but not healed by its own measures; 2 refused or an
error: one line says why. Of an error that zoovet did not foresee, the environment variable ZOOVET_TRACEBACK=1 shows
where it was raised.

Time: a few seconds to start, then a few tenths of a second for each network of a shipped model's graph; a stranger
takes half a minute to some minutes, by its size and its classes.
"""

TAKES_OVERRIDES = False

_PAGE = "index.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="weights, or several networks' weights")
    add_candidates(parser, "repairer")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="where edited weights go: a name that ends as FILE's, or .pt for .pth and so on",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite --out where it exists; edit a network that is not found to be trojaned too",
    )
    parser.add_argument(
        "--allow-unknown", action="store_true", help="edit networks unlike those that the repairer was trained on too"
    )
    parser.add_argument(
        "--max-loss",
        type=_points,
        default=1.0,
        metavar="POINTS",
        help="points of accuracy on held-out reference images that healing a stranger may cost; default 1",
    )
    parser.add_argument(
        "--keep-anyway", action="store_true", help="write an edit that fails its own check too; the exit status stays 1"
    )
    add_effort(parser, "before and after a stranger is healed", default="normal")
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write what was done to a stranger as a web page, index.html"
    )
    add_read_options(parser)
    add_device(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a repair is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Repair, and say by how much the weights were changed."""
    from zoovet.healing import HealingConfig
    from zoovet.vet import HealedFile, Repairer, failure_of, require_output_name, shipped_stranger_reader

    file, out = arguments.file, arguments.out
    require_output_name(file, out)
    require_writable_file(out, file, force=arguments.force)
    if arguments.report is not None:
        require_own_folder(arguments.report, _PAGE, "a repair's page", option="--report")
    device, options = device_name(arguments.device), read_options_of(arguments)
    has_own = arguments.repairer is not None or arguments.model is not None
    repairer = Repairer(
        candidates_of(arguments, "repairer"),
        device=device,
        allow_unknown=arguments.allow_unknown,
        strangers=None if has_own else shipped_stranger_reader(arguments.models_from),
        effort=arguments.effort,
        healing=HealingConfig(max_loss=arguments.max_loss / 100),
        force=arguments.force,
    )
    try:
        with repair_bar() as progress:
            repaired = repairer.repair_file(file, options, out=out, progress=progress)
        if isinstance(repaired, HealedFile):
            text, status = _written_healed(arguments, options, repaired)
        else:
            text, status = _written_repaired(arguments, options, repaired), EXIT_OK
    except ZoovetError:
        raise
    except Exception as error:  # a stranger's file; foreseen or not, one line that names it
        failure = failure_of(error, str(file))
        print(f"{failure.traceback or ''}error: {failure.message}", file=sys.stderr)
        return EXIT_ERROR
    print_results(text)
    return status


def _written_repaired(arguments: argparse.Namespace, options: ReadOptions, repaired: RepairedFile) -> str:
    """Write what a shipped or given repairer made of a file; a line that says by how much the weights were changed."""
    from zoovet.vet import assumed_scaling_note, write_repaired

    file, out = arguments.file, arguments.out
    if arguments.report is not None:
        raise ZoovetError("--report is of networks that no repairer knows; this one was repaired from its weights")
    said = write_repaired(repaired, file, out)
    _say_notes(arguments, options, (*repaired.notes, *said))
    for note in (
        *repaired.general_notes,
        *([assumed_scaling_note([str(file)])] if repaired.scaling_is_assumed else ()),
    ):
        print(f"note: {note}", file=sys.stderr)
    many = "1 network" if repaired.num_networks == 1 else f"{repaired.num_networks} networks"
    change = f"the weights changed by {100 * repaired.change:.1f} % of their norm"
    return f"{printable(out, MAX_PATH_CHARACTERS)}: {many} repaired; {change}"


def _written_healed(arguments: argparse.Namespace, options: ReadOptions, file: HealedFile) -> tuple[str, int]:
    """Write what was made of a stranger where it is healed, and the page: lines that say what was done, the status."""
    from zoovet.evaluation.report.healing_lines import healing_lines
    from zoovet.evaluation.report.healing_page import write_healing_page
    from zoovet.vet import write_healed

    healing, out = file.healed.healing, printable(arguments.out, MAX_PATH_CHARACTERS)
    assert healing is not None
    said: tuple[str, ...] = ()
    is_written = healing.after is not None and (healing.is_healed or arguments.keep_anyway)
    if is_written:
        said = write_healed(file, arguments.file, arguments.out)
    _say_notes(arguments, options, (*healing.before.notes, *healing.before.cautions, *healing.notes, *said))
    lines = healing_lines(healing)
    if arguments.report is not None:
        page = arguments.report / _PAGE
        write_healing_page(page, healing, arguments.file, arguments.out if is_written else None)
        lines.append(f"page: {printable(page, MAX_PATH_CHARACTERS)}")
    if is_written:
        lines.append(f"{out}: written; the input is as it was, so that deleting this file undoes the repair")
    elif healing.edit is None:
        lines.append(f"nothing was written: {out} would be the input as it is (--force edits it all the same)")
    else:
        hint = "" if healing.after is None else "; --keep-anyway writes it all the same"
        lines.append(f"nothing was written{hint}")
    return "\n".join(lines), EXIT_OK if healing.is_healed else EXIT_FLAGGED


def _say_notes(arguments: argparse.Namespace, options: ReadOptions, notes: tuple[str, ...]) -> None:
    own = ((str(arguments.file), note) for note in notes)
    for place, note in (*notes_of_images(arguments, options), *own):
        print(f"note: {printable(place, MAX_PATH_CHARACTERS)}: {note}", file=sys.stderr)


def _points(text: str) -> float:
    return number(text, lambda value: 0 <= value <= 100, "points of accuracy, a number from 0 to 100")

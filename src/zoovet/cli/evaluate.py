"""``zoovet evaluate``: measure what was trained, on networks held out from training."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from zoovet.cli.arguments import add_data_root, add_device, add_seed, at_least_one, device_name
from zoovet.cli.keeping import saying_what_is_kept
from zoovet.cli.outputs import require_own_folder
from zoovet.cli.plain_progress import PlainProgress
from zoovet.cli.status import EXIT_OK
from zoovet.cli.trained_runs import CutShort, RunsByKind, TrainedRun, by_kind
from zoovet.errors import ZoovetError
from zoovet.files import remove_dead_partials
from zoovet.folder_lock import folder_lock

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "headline", "run"]

DESCRIPTION = """
Measure what was trained on the test networks of the zoo that it was trained on: networks of bases that neither
training nor validation has seen. StatNN, fitted on the same training networks, is the yardstick of detectors and of
accuracy predictors.

  zoovet evaluate runs/detector runs/repairer --out runs/report
  zoovet evaluate runs/scalegmn runs/permutation runs/mlp --out runs/classification

RUN is a detector, a repairer (one of each), or one or several classifiers of INRs, editors of INRs or accuracy
predictors; several of a kind stand beside one another, named by their configurations: scalegmn, permutation, mlp,
scalegmn_canonicalized. Writes into --out: report.html (one page that needs nothing else), figures.json (every headline
figure with its interval), and network by network detection.parquet, repair.parquet, inr_classification.parquet,
inr_editing.parquet, generalization.parquet.

Time: about 5 minutes on one core for 480 test networks and 10,000 test images; --num-images makes repair shorter.
"""

TAKES_OVERRIDES = False

_COMPARED = {
    "inr_classification": ("classification", "accuracy", "accuracy"),
    "inr_editing": ("editing", "mean squared error", "mse"),
    "generalization": ("generalization prediction", "Kendall's tau", "tau"),
}
"""Blocks of figures that compare models: what was done, and the figure that says how well, for people and in files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run, trained on the same zoo")
    parser.add_argument("--out", type=Path, required=True, metavar="REPORT", help="folder of the report")
    parser.add_argument(
        "--zoo", type=Path, metavar="ZOO", help="the zoo, where it is no longer where the runs found it"
    )
    parser.add_argument(
        "--num-images",
        type=at_least_one,
        metavar="N",
        help="measure repair on so many test images, evenly spaced, instead of all that the zoo was measured on",
    )
    add_seed(parser, "0; of the bootstrap and of the examples shown")
    add_device(parser)
    add_data_root(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: an evaluation is not configured."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and print the headline figures."""
    started = time.monotonic()
    runs = by_kind([TrainedRun.read(folder) for folder in arguments.runs])
    zoo_path = arguments.zoo or _common_zoo(runs)
    require_own_folder(arguments.out, "figures.json", "an evaluation", begun=_begun(arguments.out))
    with (
        saying_what_is_kept(arguments.out, lambda: "nothing is kept; the same command begins again"),
        folder_lock(arguments.out, "written"),
    ):
        remove_dead_partials(arguments.out)
        figures = _measure_and_write(arguments, runs, zoo_path, started)
    print(headline(figures))
    print(arguments.out / "report.html")
    return EXIT_OK


def _begun(out: Path) -> tuple[str, ...]:
    """What an evaluation that was killed as it wrote left behind: results first, then the report."""
    from zoovet.evaluation.measured import PARTS

    results = tuple(f"{part}.parquet" for part in PARTS)
    return (*results, "report.html") if any((out / name).exists() for name in results) else ()


def _measure_and_write(
    arguments: argparse.Namespace, runs: RunsByKind, zoo_path: Path, started: float
) -> dict[str, Any]:
    device, seed = device_name(arguments.device), arguments.seed or 0

    from zoovet.cli.held_out import measure_runs, require_same_networks, write_evaluation
    from zoovet.zoo import Zoo

    console = Console(stderr=True)
    plain = PlainProgress(console)
    with console.status("reading the zoo") as status:

        def tell(text: str, *, important: bool = True) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                plain.line(text, important=important)

        zoo = Zoo.open(zoo_path, verify=True)
        require_same_networks(runs, zoo)
        measured = measure_runs(
            runs,
            zoo,
            seed=seed,
            device=device,
            data_root=arguments.data_root,
            num_images=arguments.num_images,
            tell=tell,
        )
        unfinished = [str(run.folder) for some in runs.values() for run in some if not run.finished]
        return write_evaluation(
            arguments.out,
            measured,
            runs,
            zoo,
            seed=seed,
            device=device,
            data_root=arguments.data_root,
            started=started,
            commands=[shlex.join(["zoovet", *sys.argv[1:]])],
            notes=[f"{folder} is not finished; this is its best checkpoint so far" for folder in unfinished],
        )


def _common_zoo(runs: RunsByKind) -> Path:
    zoos = {run.zoo for some in runs.values() for run in some}
    if len(zoos) > 1:
        named = " and ".join(map(str, sorted(zoos)))
        raise ZoovetError(f"the runs were trained on different zoos ({named}); evaluate each by itself")
    return zoos.pop()


def _beside(detection: dict[str, Any]) -> str:
    if detection["statnn_auc"] is None:
        return "StatNN reads no such networks"
    return f"StatNN {detection['statnn_auc']:.3f}"


def headline(figures: dict[str, Any]) -> str:
    """The figures in a few lines for people."""
    lines = [CutShort(**one).describe() for one in figures.get("cut_short", ())]
    if detection := figures.get("detection"):
        low, high = detection["auc_interval"]
        lines += [
            f"detection on {detection['num_networks']} held-out networks ({detection['num_trojaned']} trojaned): "
            f"AUC {detection['auc']:.3f} (95 %: {low:.3f} to {high:.3f}), {_beside(detection)}",
            f"  accuracy {detection['accuracy']:.3f}, true positives at 1 % false positives "
            f"{detection['tpr_at_1pct_fpr']:.3f}",
        ]
    if repair := figures.get("repair"):
        lines += [
            f"repair of {repair['num_networks']} held-out networks ({repair['num_trojaned']} trojaned): "
            f"ASR {_change(repair, 'asr')}, clean accuracy {_change(repair, 'clean_accuracy')}",
            f"  RA {_change(repair, 'ra')}, healthy networks' accuracy {_change(repair, 'healthy_accuracy')}",
        ]
    lines += [line for block in _COMPARED for line in _comparison(block, figures.get(block))]
    return "\n".join(lines)


def _comparison(block: str, figures: dict[str, Any] | None) -> list[str]:
    """A line a model."""
    if figures is None:
        return []
    what, name, figure = _COMPARED[block]
    lines = [f"{what} of {figures['num_networks']} held-out networks of {figures['num_bases']} bases"]
    for model in figures["models"].values():
        low, high = model[f"{figure}_interval"]
        lines.append(f"  {model['name']}: {name} {model[figure]:.4g} (95 %: {low:.4g} to {high:.4g})")
    if nothing := figures.get("nothing"):
        lines.append(f"  doing nothing: {name} {nothing[figure]:.4g}")
    return lines


def _change(repair: dict[str, Any], name: str) -> str:
    before, after = repair[f"{name}_before"], repair[f"{name}_after"]
    return "not measured" if before is None else f"{before:.3f} to {after:.3f}"

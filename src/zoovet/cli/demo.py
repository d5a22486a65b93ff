"""``zoovet demo``: everything, in minutes."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from zoovet.cli.arguments import add_data_root, add_device, add_repair_zoo, add_seed, at_least_one, device_name
from zoovet.cli.build import build_with_progress, summary
from zoovet.cli.clock import clock
from zoovet.cli.evaluate import headline
from zoovet.cli.keeping import AGAIN, saying_what_is_kept
from zoovet.cli.outputs import require_own_folder
from zoovet.cli.plain_progress import PlainProgress
from zoovet.cli.status import EXIT_OK
from zoovet.cli.trained_runs import TrainedRun, by_kind
from zoovet.config import read_config, write_config
from zoovet.errors import ZoovetError
from zoovet.files import remove_dead_partials
from zoovet.folder_lock import folder_lock
from zoovet.processes import num_usable_cores

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.cli.demo_config import DemoConfig

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Everything, in minutes: train several hundred small CNNs, each in a healthy and a poisoned version; train a detector
and a repairer on their weights; measure both on networks of bases that neither has seen.

  zoovet demo --open
  zoovet demo --out runs/demo-glyphs --zoo.dataset glyphs

The CNNs read Fashion-MNIST where it is on this machine (--data-root, $ZOOVET_DATA, /usr/share/datasets) or its server
answers within 10 seconds; else glyphs, letters and digits that are drawn here: nothing is needed from a network.
--zoo.dataset decides instead.

Writes into --out: report.html, figures.json, detection.parquet, repair.parquet, and the folders zoo, detector and
repairer. An interrupted demo goes on from where it was when it is started again. The same seed gives the same
figures, however busy the machine is.

Time: 5 to 6 minutes on two cores, twice that on slow ones; every step says how long it will take.
"""

TAKES_OVERRIDES = True

_CONFIG_NAME = "demo.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="FOLDER", help="default runs/demo")
    parser.add_argument(
        "--workers", type=at_least_one, metavar="N", help="processes that train networks; default one a core"
    )
    parser.add_argument("--open", action="store_true", help="open the report in a browser, where there is a display")
    add_repair_zoo(parser)
    add_seed(parser, "0")
    add_device(parser)
    add_data_root(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """The demo's configuration."""
    from zoovet.cli.demo_config import DemoConfig

    return {"keys that can be changed": DemoConfig}


def run(arguments: argparse.Namespace) -> int:
    """Build, train twice, evaluate, while the folder is held."""
    out: Path = arguments.out
    require_own_folder(out, _CONFIG_NAME, "a demo")
    with saying_what_is_kept(out, lambda: f"what is done is kept in {out}; {AGAIN}"), folder_lock(out, "written"):
        remove_dead_partials(out)
        return _demonstrate(arguments)


def _demonstrate(arguments: argparse.Namespace) -> int:
    import torch

    from zoovet.cli.demo_config import demo_config
    from zoovet.cli.demo_trainings import Training, train_all
    from zoovet.cli.train_configs import TrainingData

    started, out = time.monotonic(), arguments.out
    torch.set_num_threads(1)  # more make it slower, on a busy machine many times, and may change the last bits
    device = device_name(arguments.device)
    seeds = ("zoo.seed", "detection.training.seed", "repair.training.seed")
    seed = arguments.seed or 0
    overrides = {**dict.fromkeys(seeds, seed), **arguments.overrides}
    demo_config(overrides)  # a mistake is found before anyone waits for a server
    overrides["zoo.dataset"], why = _dataset(out, arguments)
    config = demo_config(overrides)
    print(f"images: {config.zoo.dataset}, {why}", flush=True)
    notes = (
        []
        if _begin(out, config)
        else ["an earlier demo in this folder was continued; the wall time is of the last part"]
    )
    data = TrainingData(zoo=out / "zoo")

    def tell(number: int, text: str) -> None:
        print(f"[{clock(time.monotonic() - started)}] {number}/3 {text}", flush=True)

    tell(1, f"training {config.zoo.num_networks} networks on {config.zoo.dataset}: every base healthy and poisoned")
    workers = arguments.workers or num_usable_cores()
    zoo = build_with_progress(
        config.zoo, out / "zoo", workers=workers, repair=arguments.repair_zoo, data_root=arguments.data_root
    )
    print(f"  {summary(zoo)}")
    trainings = (
        Training(name="detector", task="detection", config=config.detection),
        Training(name="repairer", task="repair", config=config.repair),
    )
    side_by_side = workers > 1 and device == "cpu"
    how = ", side by side" if side_by_side else ", one after the other"
    tell(2, f"training a detector and a repairer: ScaleGMNs that read weights, and edit them{how}")
    train_all(trainings, data, out, device=device, data_root=arguments.data_root, side_by_side=side_by_side)
    tell(3, "measuring both on networks of bases they have never seen")
    figures = _evaluate(out, seed, device, arguments.data_root, started, notes)
    print(f"\n{headline(figures)}\n\nreport: {out / 'report.html'}\nfigures: {out / 'figures.json'}")
    print(f"took {clock(time.monotonic() - started)}")
    if arguments.open and _has_display():
        webbrowser.open((out / "report.html").resolve().as_uri())
    return EXIT_OK


def _dataset(out: Path, arguments: argparse.Namespace) -> tuple[str, str]:
    """The dataset, and why: the one asked for, else that of a demo that is continued, else the best to be had."""
    from zoovet.cli.demo_config import DemoConfig
    from zoovet.cli.demo_dataset import choose_dataset

    if "zoo.dataset" in arguments.overrides:
        return arguments.overrides["zoo.dataset"], "as --zoo.dataset says"
    if (path := out / _CONFIG_NAME).exists():
        return read_config(DemoConfig, path).zoo.dataset, f"as before in {out}"
    return choose_dataset(arguments.data_root)


def _begin(out: Path, config: DemoConfig) -> bool:
    """Write the configuration into the folder; whether the demo begins there, rather than goes on.

    Raises:
        ZoovetError: It holds a demo of another configuration.
    """
    from zoovet.cli.demo_config import DemoConfig

    path = out / _CONFIG_NAME
    if not path.exists():
        write_config(config, path)
        return True
    if read_config(DemoConfig, path) != config:
        raise ZoovetError(
            f"{out} holds a demo of another configuration ({path}); give another --out, or remove that folder"
        )
    return False


def _evaluate(
    out: Path, seed: int, device: str, data_root: Path | None, started: float, notes: list[str]
) -> dict[str, Any]:
    from zoovet.cli.held_out import measure_runs, write_evaluation
    from zoovet.zoo import Zoo

    runs = by_kind([TrainedRun.read(out / "detector"), TrainedRun.read(out / "repairer")])
    zoo = Zoo.open(out / "zoo", verify=True)
    plain = PlainProgress(Console())

    def show(text: str, *, important: bool = True) -> None:
        plain.line(f"  {text}", important=important)

    measured = measure_runs(runs, zoo, seed=seed, device=device, data_root=data_root, tell=show)
    commands = [shlex.join(["zoovet", *sys.argv[1:]])]
    return write_evaluation(
        out,
        measured,
        runs,
        zoo,
        seed=seed,
        device=device,
        data_root=data_root,
        started=started,
        commands=commands,
        notes=notes,
    )


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))

"""``zoovet build``: from a recipe to a zoo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoovet.cli.arguments import add_data_root, add_repair_zoo, add_seed, at_least_one, chosen_kind, device_name
from zoovet.cli.runners import add_ray, cluster_of
from zoovet.cli.status import EXIT_OK
from zoovet.cli.zoo_bar import zoo_bar
from zoovet.config import read_config, read_yaml
from zoovet.errors import ZoovetError
from zoovet.printable import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.jobs import Runner
    from zoovet.zoo import Zoo
    from zoovet.zoo.builders import Recipe

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "build_with_progress", "config_classes", "run", "summary"]

DESCRIPTION = """
Train a zoo: many small networks, each in a healthy and a poisoned version, as a recipe says.

  zoovet build configs/zoo/fashion-mnist-trojan.yaml --out zoos/fmnist --workers 2
  zoovet build configs/zoo/fashion-mnist-trojan.yaml --out zoos/fmnist --device cuda
  zoovet build configs/zoo/digits-trojan.yaml --out zoos/digits --num_bases 20 --seed 7
  zoovet build configs/zoo/park.yaml --out s3://my-bucket/park --ray ray://head:10001

Writes zoo.json and shard-00000.parquet ... into --out: a row for each network, with its weights, hyperparameters,
trigger, accuracy, ASR and RA, measured on test images. Every shard is whole from the moment it appears. A build that
was interrupted, even killed, is finished by the same command, and ends with the same zoo as one that ran through.
What is there is checked first, its checksums and which networks it holds: damage is named and refused, or made again
with --repair-zoo. One build works in a folder at a time; a second one says which process it would disturb.
In a bucket (s3://, gs://, az://) shards appear whole too; a copy of the zoo is kept in the user's cache folder.
With --device cuda, trojan zoos are trained by one process, hundreds of networks side by side: the draws are the same,
the last bits of the weights are not. An interrupted build loses up to 1,024 bases then, less than a minute's work.

Time: a bar says how many networks a second are trained and what is left.
"""

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("config", type=Path, metavar="CONFIG", help="recipe, a YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="ZOO", help="folder of the zoo, or s3://BUCKET/ZOO")
    parser.add_argument("--workers", type=at_least_one, metavar="N", help="processes of one thread each; default 1")
    add_ray(parser, "shards are made")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="where to train a trojan zoo; auto: a GPU where there is one; default cpu, the same bytes at every build",
    )
    add_repair_zoo(parser)
    add_seed(parser, "the recipe's")
    add_data_root(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """A recipe of every kind."""
    from zoovet.zoo.builders import RECIPES

    return {f"keys where kind is {kind}, in CONFIG or on the command line": recipe for kind, recipe in RECIPES.items()}


def run(arguments: argparse.Namespace) -> int:
    """Build, and say what there is."""
    from zoovet.zoo.builders import RECIPES, require_device_choice
    from zoovet.zoo.stores import address_of

    values, overrides = read_yaml(arguments.config), dict(arguments.overrides)
    kind = chosen_kind(values, overrides, "kind", list(RECIPES), arguments.config)
    if arguments.seed is not None:
        overrides["seed"] = arguments.seed
    recipe = read_config(RECIPES[kind], values, overrides, where=str(arguments.config))
    side_by_side = None
    if arguments.device is not None:
        device = device_name(arguments.device)
        require_device_choice(recipe, device)
        side_by_side = None if device == "cpu" else device
    if side_by_side is not None and arguments.ray is not None:
        raise ZoovetError("--ray and a GPU: a cluster's jobs are done on processors; give --device cpu, or no --ray")
    zoo = build_with_progress(
        recipe,
        arguments.out,
        workers=arguments.workers or 1,
        runner=cluster_of(arguments, workers=arguments.workers),
        side_by_side=side_by_side,
        data_root=arguments.data_root,
        repair=arguments.repair_zoo,
    )
    print(summary(zoo, address_of(arguments.out)))
    return EXIT_OK


def build_with_progress(
    recipe: Recipe,
    out: Path,
    *,
    workers: int,
    data_root: Path | None,
    runner: Runner | None = None,
    side_by_side: str | None = None,
    repair: bool = False,
) -> Zoo:
    """Build a zoo while a bar shows networks, rate and time left; see :func:`zoovet.zoo.build_zoo`.

    Raises:
        KeyboardInterrupt: Ctrl-C; its message says what was kept and how to go on.
    """
    from zoovet.zoo import build_zoo
    from zoovet.zoo.stores import local_folder

    with zoo_bar("building", local_folder(out, "built")) as bar:
        return build_zoo(
            recipe,
            out,
            workers=workers,
            runner=runner,
            side_by_side=side_by_side,
            data_root=data_root,
            progress=bar,
            repair=repair,
        )


def summary(zoo: Zoo, address: str | None = None) -> str:
    """One line for people on a finished zoo, which lies at ``address`` where that is given."""
    splits = ", ".join(f"{len(zoo.split(name))} {name}" for name in ("train", "validation", "test"))
    text = f"{zoo.path if address is None else printable(address)}: {len(zoo)} networks ({splits})"
    for column, words in (("clean_accuracy", "clean accuracy {:.3f}"), ("psnr", "PSNR {:.1f} dB")):
        values = zoo.column(column)
        if np.isfinite(values).any():
            text += f", {words.format(np.nanmean(values))}"
    labelled = zoo.select(zoo.labelled)
    trojaned = labelled.select(labelled.column("poisoned"))
    if len(trojaned):
        text += f"; {len(trojaned)} trojaned"
        if np.isfinite(asr := trojaned.column("asr")).any():
            text += f", ASR {np.nanmean(asr):.3f}"
    if 0 < len(labelled) < len(zoo):
        text += f"; of {len(zoo) - len(labelled)} it is not known whether they are trojaned"
    return text

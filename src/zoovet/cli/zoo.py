"""``zoovet zoo new``: a recipe for a user's own network and images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_data_root, add_seed, at_least_one
from zoovet.cli.expected_auc import OWN_NETWORKS_AUC, expected_auc
from zoovet.cli.status import EXIT_OK
from zoovet.errors import ZoovetError
from zoovet.printable import MAX_PATH_CHARACTERS, printable
from zoovet.processes import num_usable_cores

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Write a recipe for a zoo of networks like yours, on your images.

  zoovet zoo new my-net.onnx --images photos/ --out my-zoo.yaml
  zoovet zoo new my_net.py:make --images photos/ --size 32 --color rgb --out my-zoo.yaml --num-bases 400

NETWORK is a weight file whose architecture is taken, a function of a Python file (whose code is run), a library's
(torchvision:resnet18) or a graph's JSON file. The images are a folder of class folders, or whatever else recipes take.
One base, a healthy network and a trojaned one, is built at once, on one core: what it reaches becomes the recipe's
floor of accuracy, what it takes says how long a build will take here. Prints that, what AUC to expect and what that
rests on, and the commands that go on from there. Writes nothing but --out.

Without --precise the zoo is for a detector that runs networks, and it has two drawn image sets beside yours, which that
is calibrated on. With it the zoo is of your images alone, for a detector and a repairer that read weights.

Time: that of one base, seconds to minutes.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("what", choices=("new",), help="new: write a recipe")
    parser.add_argument("network", metavar="NETWORK", help="a network's file, FILE.py:FUNCTION, or LIBRARY:NAME")
    parser.add_argument("--images", required=True, metavar="IMAGES", help="folder of class folders, or another source")
    parser.add_argument("--out", type=Path, required=True, metavar="RECIPE", help="recipe to write, a YAML file")
    parser.add_argument("--num-bases", type=at_least_one, default=200, metavar="N", help="bases; default 200")
    parser.add_argument("--size", type=at_least_one, metavar="N", help="bring images to N by N pixels")
    parser.add_argument("--color", choices=("gray", "rgb"), help="bring images to one channel or three")
    parser.add_argument("--precise", action="store_true", help="no images but yours: for a detector that reads weights")
    parser.add_argument("--architecture", metavar="NAME", help="what a state dict is: resnet, mlp:activation=relu")
    add_seed(parser, "0")
    add_data_root(parser)


def config_classes() -> dict[str, type[DataclassInstance]]:
    """There is nothing to configure."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Build one base, write the recipe, say what to expect."""
    import torch

    from zoovet.config import write_config
    from zoovet.images.sources import ImageSource
    from zoovet.zoo.fitting_recipe import fitting_recipe, measured_base, with_measured_floor

    if arguments.out.exists():
        raise ZoovetError(f"{printable(arguments.out)} is there already; give another --out")
    images = ImageSource(
        source=_absolute(arguments.images),
        size=None if arguments.size is None else (arguments.size, arguments.size),
        color=arguments.color or "as_is",
    )
    recipe = fitting_recipe(
        _absolute(arguments.network),
        images,
        architecture=arguments.architecture,
        num_bases=arguments.num_bases,
        precise=arguments.precise,
        seed=arguments.seed or 0,
    )
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)  # as in the processes of a build
    base = measured_base(recipe, arguments.data_root)
    recipe = with_measured_floor(recipe, base)
    write_config(recipe, arguments.out)
    cores = num_usable_cores()
    named = printable(arguments.out, MAX_PATH_CHARACTERS)
    print(f"{named}: a recipe of kind {recipe.kind}, {recipe.num_bases} bases, {2 * recipe.num_bases} networks")
    reached = f"accuracy {base.clean_accuracy:.3f}, ASR {base.asr:.3f}"
    print(
        f"One base took {base.seconds:.1f} s on one core here: {reached}.\n"
        f"All take about {_clock(base.hours(recipe.num_bases, cores))} on {cores} cores, if the others are like it."
    )
    route = "small_cnn" if recipe.kind == "trojan" else "precise" if arguments.precise else "strangers"
    print(expected_auc(route))
    print(_next_steps(route, str(arguments.out), arguments.images, cores))
    if route == "strangers":
        print(
            f"More precise, where all that you vet is this architecture on these images: --precise. {OWN_NETWORKS_AUC}"
        )
    return EXIT_OK


def _absolute(source: str) -> str:
    """A path that holds wherever the recipe is used; names of datasets and libraries stay."""
    file, colon, function = source.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{_absolute(file)}:{function}"
    path = Path(source).expanduser()
    return str(path.absolute()) if path.exists() else source


def _clock(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"


def _next_steps(route: str, recipe: str, images: str, cores: int) -> str:
    config = {"small_cnn": "detection", "precise": "own/detection", "strangers": "strangers"}[route]
    reads_evidence = f"--strangers runs/mine --images {printable(images)}"
    scan = reads_evidence if route == "strangers" else "--detector runs/mine"
    return (
        f"Next:\n  zoovet build {printable(recipe)} --out zoos/mine --workers {cores}\n"
        f"  zoovet train configs/{config}.yaml --data.zoo zoos/mine --out runs/mine\n"
        f"  zoovet scan SUSPECT {scan}"
    )

"""Options that say what weight files leave open."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from zoovet.networks import InputScaling
    from zoovet.vet import ReadOptions

__all__ = [
    "IMAGES_HELP",
    "SCALING_HELP",
    "add_graph_options",
    "add_read_options",
    "notes_of_images",
    "read_options_of",
    "scaling_of",
]

_ARCHITECTURES = "small_cnn, lenet, mlp, vgg, resnet, preact_resnet, wrn, mobilenet_v2, densenet, deepid"

_LARGEST_SIZE = 2**16
_MAX_DIGITS = 6

IMAGES_HELP = f"""\
With reference images, a few of the kind that the networks read (--images: a folder of class folders, or an .npz with
images, uint8 [N, H, W] or [N, H, W, C], and labels), an input scaling that nobody says is found where one of the usual
is clearly best on them; a note says with what accuracy. --input-shape brings images of another size or colour to what
the networks read. --architecture says what state dicts hold:
{_ARCHITECTURES},
each with what names and shapes leave open behind a colon (an error lists it); torchvision:NAME, timm:NAME or
transformers:NAME where that is installed; or FILE.py:FUNCTION, which makes the network, and whose code is run.
Of a network that no detector or repairer knows, a line says what it is."""
"""For the descriptions of verbs that take these options."""

SCALING_HELP = """\
Networks read images scaled in one way or another, and the same weights mean another network with each. A file that
zoovet wrote may say it; of others give it, by name or in numbers: pixels of 0 to 255 become --input-range LOW,HIGH
(0,1 where left out), then --mean is subtracted, then --std divides. Where nobody says it, [-1, 1], which
zoovet's own networks read, is assumed of those that a shipped model knows, and a note says so; others are unknown."""
"""For the descriptions of verbs that take these options."""


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """``--activation``, ``--order``, and those of :func:`add_graph_options`."""
    parser.add_argument(
        "--activation",
        metavar="NAME",
        help="hidden activation of files without a graph, where weights alone leave it open: relu, tanh, ...",
    )
    parser.add_argument(
        "--order",
        type=_names,
        metavar="NAMES",
        help="names of all layers as they run, for files whose names and shapes leave it open: stem,mid,deep,head",
    )
    add_graph_options(parser)


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """``--architecture``, ``--images``, the input's shape, its scaling."""
    parser.add_argument(
        "--architecture",
        metavar="NAME",
        help="what state dicts hold: resnet20:zeros=around, torchvision:resnet18, my_net.py:make (which is run), ...",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="PATH",
        help="reference images, a few clean ones of the kind that the networks read: a folder of class folders or of "
        "images, or an .npz",
    )
    parser.add_argument(
        "--input-shape",
        type=_shape,
        metavar="C,H,W",
        help="shape of an image, channels, height, width, where a file leaves it open and no --images tell it; what "
        "--images of another size or colour are brought to",
    )
    parser.add_argument(
        "--output",
        type=_index,
        metavar="INDEX",
        help="which of several things that the networks answer are their classes, from 0, as in a pair of logits and "
        "features",
    )
    parser.add_argument(
        "--scaling",
        metavar="NAME",
        help="input scaling of the networks by name: symmetric ([-1, 1]), unit ([0, 1]), byte ([0, 255]), imagenet, "
        "cifar10, mnist, fashion_mnist",
    )
    parser.add_argument(
        "--input-range", type=_numbers, metavar="LOW,HIGH", help="input scaling: what pixels of 0 and 255 become"
    )
    parser.add_argument(
        "--mean", type=_numbers, metavar="M[,M...]", help="input scaling: then subtracted, one for all channels or each"
    )
    parser.add_argument(
        "--std", type=_numbers, metavar="S[,S...]", help="input scaling: then divided by, one for all channels or each"
    )


def read_options_of(arguments: argparse.Namespace) -> ReadOptions:
    """What the options of :func:`add_read_options` say.

    Raises:
        ZoovetError: The input scaling is unknown, given twice, or its numbers are none; or the images cannot be read.
    """
    from zoovet.images import Images
    from zoovet.vet import ReadOptions

    return ReadOptions(
        activation=arguments.activation,
        order=arguments.order,
        scaling=scaling_of(arguments),
        architecture=arguments.architecture,
        images=None if arguments.images is None else Images.from_file(arguments.images, arguments.input_shape),
        input_shape=arguments.input_shape,
        output=arguments.output,
    )


def notes_of_images(arguments: argparse.Namespace, options: ReadOptions) -> list[tuple[str, str]]:
    """What is to be said of the reference images: their place, and one line."""
    images = options.images
    if images is None:
        return []
    from zoovet.vet import notes_on_images

    return [(str(arguments.images), note) for note in notes_on_images(images, options.scaling)]


def scaling_of(arguments: argparse.Namespace) -> InputScaling | None:
    """The input scaling that the options of :func:`add_graph_options` say; ``None`` where none does.

    Raises:
        ZoovetError: It is unknown, given twice, or its numbers are none.
    """
    from zoovet.networks import stated_scaling

    input_range, mean, deviation = arguments.input_range, arguments.mean, arguments.std
    in_numbers = [f"--{name}" for name in ("input-range", "mean", "std") if getattr(arguments, name.replace("-", "_"))]
    if arguments.scaling is not None and in_numbers:
        raise ZoovetError(f"--scaling names the whole input scaling: leave out {', '.join(in_numbers)}")
    if input_range is not None and len(input_range) != 2:
        raise ZoovetError(f"--input-range takes two numbers, LOW,HIGH, got {len(input_range)}")
    return stated_scaling(arguments.scaling, input_range, mean, deviation)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them, got {text!r}")
    return values


def _shape(text: str) -> tuple[int, ...]:
    sizes = tuple(int(size) if size.strip().isdecimal() else 0 for size in text.split(",", 3))
    if len(sizes) not in (1, 3) or not all(0 < size <= _LARGEST_SIZE for size in sizes):
        raise argparse.ArgumentTypeError(
            f"must be channels, height and width with commas between them, as 3,32,32, or a number of features, "
            f"got {text!r}"
        )
    return sizes


def _index(text: str) -> int:
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text!r}")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names of layers with commas between them, got {text!r}")
    return names

"""``zoovet import``: published datasets as zoos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import add_repair_zoo, add_seed
from zoovet.cli.build import summary
from zoovet.cli.reading import add_graph_options, scaling_of
from zoovet.cli.status import EXIT_OK
from zoovet.cli.zoo_bar import zoo_bar
from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import DataclassInstance

    from zoovet.networks import Networks

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

DESCRIPTION = """
Read a published dataset of networks, unpacked as it was downloaded, or a folder of weight files, and write it as a zoo.

  zoovet import folder nets/ --table labels.csv --architecture resnet20:image=32 --dataset cifar10 --out zoos/theirs
  zoovet import small-cnn-zoo data/cifar10 --split-file data/cifar10_split.csv --out zoos/cifar10-cnns
  zoovet import mnist-inr data/mnist-inrs --out zoos/mnist-inr

LAYOUT  what PATH holds, and where to download it:
  folder          weight files of any format; --table names them in its column 'file', beside 'poisoned' (1 or 0, or
                  nothing where it is not known), 'target', 'accuracy', 'asr', 'split', 'base' ... as far as it has them
  mntd            shadow_benign_N.model, shadow_jumbo_N.model, target_benign_N.model, target_trojM_N.model (Xu et al.
                  2021): as https://github.com/AI-secure/Meta-Nerual-Trojan-Detection trains them
  model-zoos      NAME/params.json, result.json, checkpoint_N/checkpoints (Schürholt et al. 2022): archives listed at
                  https://github.com/ModelZoos/ModelZooDataset
  small-cnn-zoo   weights.npy, metrics.csv.gz, layout.csv (Unterthiner et al. 2020): one of cifar10, fashion_mnist,
                  mnist, svhn_cropped as .tar.xz from
                  https://storage.cloud.google.com/gresearch/smallcnnzoo-dataset/
                  NFN's split files: https://github.com/AllanYangZhou/nfn, experiments/predict_gen_data_splits
  trojan-cnn-zoo  the same with a column 'poisoned'; no public address is known
  mnist-inr       mnist_png_{training,testing}_{label}_{image}/checkpoints/model_final.pth (Navon et al. 2023):
                  mnist-inrs.zip from https://www.dropbox.com/sh/56pakaxe58z29mq/AABtWNkRYroLYe_cE3c90DXVa?dl=0
  fmnist-inr      splits.json and the weight files that it lists (Navon et al. 2023): fmnist_inrs.zip, same address
  cifar-inr       randinit_smaller_{label}s/net{index}.pth and randinit_smaller_aug{k}_{label}s (Zhou et al. 2023):
                  siren_cifar_wts.tar from https://drive.google.com/drive/folders/15CdOTPWHqDcS4SwbIdm100rXkTYZPcC5

Files, columns, shapes and counts are checked, and what differs from the published dataset is said; no checksums were
published. Code in a file is never run. What a table leaves empty stays unknown: it never counts as healthy, and
networks without a label are refused where one is needed. Checkpoints of one training, a healthy network and its
poisoned sibling, and copies of one image are always in one split.

Writes zoo.json and shard-00000.parquet ... into --out. Every shard is whole from the moment it appears; an import that
was interrupted, even killed, is finished by the same command, with the same bytes as one that ran through. It needs
less than 1 GB of memory, however large the dataset is.

Time: a bar says what is left. 270,000 small CNNs (5.4 GB) take minutes, as the disk allows; a thousand INRs, a file
each, a few seconds.
"""

TAKES_OVERRIDES = False


def _at_least_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, got {text!r}")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise argparse.ArgumentTypeError(f"must be OURS=THEIRS, got {text!r}")
    return ours, theirs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare positional arguments and options."""
    parser.add_argument("layout", metavar="LAYOUT", help="what PATH holds; see above")
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the published dataset, unpacked")
    parser.add_argument("--out", type=Path, required=True, metavar="ZOO", help="folder of the zoo")
    parser.add_argument(
        "--split-file",
        type=Path,
        metavar="F",
        help="small-cnn-zoo: NFN's permutation, a CSV (default: 40, 10 and 50 %% of the trainings are drawn); "
        "mnist-inr: JSON, split to paths and labels (default: mnist_splits.json in PATH, else 5,000 of 60,000 "
        "training images validate); fmnist-inr: JSON in place of splits.json",
    )
    parser.add_argument(
        "--copies",
        type=_at_least_zero,
        metavar="K",
        help="cifar-inr: take the augmented copies 0 to K - 1 of each training image; default all that are there",
    )
    parser.add_argument("--table", type=Path, metavar="CSV", help="folder: what is known of the files, a line each")
    parser.add_argument(
        "--column",
        type=_pair,
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="folder: what the table calls a column, where that is not usual: poisoned=has_backdoor; again for others",
    )
    parser.add_argument(
        "--dataset", metavar="NAME", help="folder, mntd, model-zoos: the images that the networks were trained on"
    )
    add_graph_options(parser)
    add_repair_zoo(parser)
    add_seed(parser, "0; only a split that is drawn uses it")


def config_classes() -> dict[str, type[DataclassInstance]]:
    """There is nothing to configure."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Import, and say what there is."""
    from zoovet.zoo.importers import ImportOptions, import_zoo, open_published

    seed = 0 if arguments.seed is None else arguments.seed
    options = ImportOptions(
        split_file=arguments.split_file,
        seed=seed,
        copies=arguments.copies,
        table=arguments.table,
        columns=tuple(arguments.column),
        dataset=arguments.dataset,
        read=_reader(arguments),
    )
    published = open_published(arguments.layout, arguments.path, options)
    with zoo_bar("importing", arguments.out) as bar:
        zoo = import_zoo(published, arguments.out, progress=bar, repair=arguments.repair_zoo)
    print(summary(zoo))
    for remark in published.remarks:
        print(f"  {remark}")
    return EXIT_OK


def _reader(arguments: argparse.Namespace) -> Callable[[Path], Networks] | None:
    """What reads a file as the options say; ``None`` for layouts whose files need none of that.

    Raises:
        ZoovetError: An option that the layout does not take, or one that makes no sense.
    """
    from zoovet.zoo.importers import LAYOUTS

    entry = LAYOUTS.get(arguments.layout)
    if entry is None or "read" not in entry.takes:
        names = ("architecture", "images", "input_shape", "scaling", "input_range", "mean", "std")
        for name in names if entry is not None else ():
            if getattr(arguments, name) is not None:
                raise ZoovetError(f"--{name.replace('_', '-')} means nothing for {arguments.layout}")
        return None
    from zoovet.images import Images
    from zoovet.networks import Networks
    from zoovet.vet import read

    images = None if arguments.images is None else Images.from_file(arguments.images, arguments.input_shape)
    scaling = scaling_of(arguments)

    def networks_in(path: Path) -> Networks:
        network = read(path, arguments.architecture, scaling, images, arguments.input_shape)
        if network.networks is None or network.graph is None:
            raise ZoovetError(f"{path} can only be run, and a zoo is of graphs: {network.beyond}")
        return Networks(network.graph, network.networks.parameters)

    return networks_in

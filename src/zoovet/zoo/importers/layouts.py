"""The layouts that can be imported: their names, what opens them, and where their datasets come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoovet.errors import ZoovetError, nearest
from zoovet.zoo.importers.cifar_inr import open_cifar_inr
from zoovet.zoo.importers.fmnist_inr import open_fmnist_inr
from zoovet.zoo.importers.folder import open_folder
from zoovet.zoo.importers.mnist_inr import open_mnist_inr
from zoovet.zoo.importers.mntd import open_mntd
from zoovet.zoo.importers.model_zoos import open_model_zoos
from zoovet.zoo.importers.published import ImportOptions, MissingPartError, PublishedZoo
from zoovet.zoo.importers.small_cnn_zoo import open_small_cnn_zoo
from zoovet.zoo.importers.trojan_cnn_zoo import open_trojan_cnn_zoo

__all__ = ["LAYOUTS", "ImportLayout", "open_published"]

_DWS = "https://www.dropbox.com/sh/56pakaxe58z29mq/AABtWNkRYroLYe_cE3c90DXVa?dl=0"


@dataclass(frozen=True, kw_only=True)
class ImportLayout:
    """A layout of a published dataset.

    Attributes:
        open: Reads its tables or lists its files.
        address: Where the dataset can be downloaded, for people.
        takes: Options that mean something for it, by their field in ``ImportOptions``.
    """

    open: Callable[[Path, ImportOptions], PublishedZoo]
    address: str
    takes: tuple[str, ...]


LAYOUTS: dict[str, ImportLayout] = {
    "small-cnn-zoo": ImportLayout(
        open=open_small_cnn_zoo,
        address="cifar10.tar.xz, fashion_mnist.tar.xz, mnist.tar.xz, svhn_cropped.tar.xz from "
        "https://storage.cloud.google.com/gresearch/smallcnnzoo-dataset/ (unpack one; CC BY 4.0); the NFN split files "
        "from https://github.com/AllanYangZhou/nfn, experiments/predict_gen_data_splits/",
        takes=("split_file", "seed"),
    ),
    "trojan-cnn-zoo": ImportLayout(
        open=open_trojan_cnn_zoo,
        address="no public address is known; ask its authors for weights.npy, metrics.csv.gz and layout.csv",
        takes=("seed",),
    ),
    "mnist-inr": ImportLayout(open=open_mnist_inr, address=f"mnist-inrs.zip from {_DWS}", takes=("split_file", "seed")),
    "fmnist-inr": ImportLayout(open=open_fmnist_inr, address=f"fmnist_inrs.zip from {_DWS}", takes=("split_file",)),
    "cifar-inr": ImportLayout(
        open=open_cifar_inr,
        address="siren_cifar_wts.tar from https://drive.google.com/drive/folders/15CdOTPWHqDcS4SwbIdm100rXkTYZPcC5",
        takes=("copies",),
    ),
    "folder": ImportLayout(
        open=open_folder,
        address="your own, or anyone's: weight files, and a table that names them",
        takes=("table", "columns", "dataset", "read", "seed"),
    ),
    "mntd": ImportLayout(
        open=open_mntd,
        address="written by the training scripts of https://github.com/AI-secure/Meta-Nerual-Trojan-Detection",
        takes=("dataset", "read"),
    ),
    "model-zoos": ImportLayout(
        open=open_model_zoos,
        address="https://github.com/ModelZoos/ModelZooDataset lists its archives",
        takes=("dataset", "read", "seed"),
    ),
}
"""Layouts by their name on the command line. Addresses are those that the datasets' authors give in the READMEs of
google-research/dnn_predict_accuracy, AllanYangZhou/nfn and (for those of Navon et al.) mkofinas/neural-graphs."""


def open_published(layout: str, folder: Path | str, options: ImportOptions | None = None) -> PublishedZoo:
    """Read a published dataset's tables and check them; weights are read later.

    Args:
        layout: A key of :data:`LAYOUTS`.
        folder: Where the dataset was unpacked.
        options: How to import.

    Raises:
        ZoovetError: The layout is unknown, does not take an option that was given, or the dataset is incomplete,
            damaged, or contradicts itself. Where something is not there, the message says where the dataset comes from.
    """
    if layout not in LAYOUTS:
        raise ZoovetError(f"the layout {layout!r} is unknown{nearest(layout, LAYOUTS)}")
    entry, options, path = LAYOUTS[layout], options or ImportOptions(), Path(folder)
    for name, value in vars(options).items():
        if value != getattr(ImportOptions(), name) and name not in entry.takes:
            raise ZoovetError(f"{_flags((name,))} means nothing for {layout}, which takes {_flags(entry.takes)}")
    try:
        return entry.open(path, options)
    except MissingPartError as error:
        raise MissingPartError(f"{error}. The dataset: {entry.address}") from None


def _flags(names: tuple[str, ...]) -> str:
    """Options as they are written on the command line."""
    words = {"columns": "column", "read": "architecture"}
    return " and ".join("--" + words.get(name, name).replace("_", "-") for name in names)

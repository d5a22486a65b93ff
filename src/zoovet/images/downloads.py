"""Downloads of datasets from their official addresses: over https, no larger than expected, each of a known SHA-256."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import pooch

from zoovet.errors import ZoovetError
from zoovet.printable import printable
from zoovet.text_files import in_words

if TYPE_CHECKING:
    from requests import Response

__all__ = ["REMOTE_FILES", "RemoteFile", "download"]

_FASHION_MNIST = "https://fashion-mnist.s3.eu-central-1.amazonaws.com/"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_SCHEME = "https"
_SECONDS_WITHOUT_AN_ANSWER = 30
_MAX_BYTES = {"fashion-mnist": 32 << 20, "mnist": 16 << 20, "cifar10": 192 << 20, "svhn": 256 << 20}
"""What each file of a dataset may weigh; the largest weigh 26, 10, 170 and 182 MB."""

_SVHN = "https://ufldl.stanford.edu/housenumbers/"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a dataset: the folder it is in (an address that ends in ``/``), its name, and its SHA-256."""

    address: str
    name: str
    sha256: str


_IDX_SHA256 = {
    _FASHION_MNIST: {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    _MNIST: {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
}

REMOTE_FILES: dict[str, tuple[RemoteFile, ...]] = {
    "fashion-mnist": tuple(RemoteFile(_FASHION_MNIST, *item) for item in _IDX_SHA256[_FASHION_MNIST].items()),
    "mnist": tuple(RemoteFile(_MNIST, *item) for item in _IDX_SHA256[_MNIST].items()),
    "cifar10": (
        RemoteFile(
            _CIFAR, "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
        ),
    ),
    "svhn": (
        RemoteFile(_SVHN, "train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        RemoteFile(_SVHN, "test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    ),
}
"""What is downloaded, by the name of the dataset. CIFAR-10 in its binary version, which holds no pickles. SVHN's
checksums are those that TensorFlow Datasets (``url_checksums/svhn_cropped.txt``) and torchvision's prototype datasets
publish alike."""


def download(name: str, folder: Path, searched: list[Path]) -> None:
    """Download a dataset's files into a folder, with a progress bar; files already whole there are kept.

    A file appears in the folder only when it is complete and its checksum is right; nothing of it is left otherwise. It
    comes by https, over each redirect too, from a server that answers within half a minute, and is broken off where it
    is larger than such a file can be.

    Args:
        name: A key of :data:`REMOTE_FILES`.
        folder: Where the files go; made where missing.
        searched: Where the dataset was looked for before, for the message.

    Raises:
        ZoovetError: An address cannot be reached, is no https, gives too much, a checksum differs, or the folder cannot
            be written.
    """
    pooch.get_logger().setLevel("WARNING")
    for remote in REMOTE_FILES[name]:
        url = remote.address + remote.name
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{remote.sha256}",
                fname=remote.name,
                path=folder,
                downloader=_Downloader(_MAX_BYTES[name]),
            )
        except (OSError, ValueError) as error:
            files = ", ".join(file.name for file in REMOTE_FILES[name])
            raise ZoovetError(
                f"dataset {name!r} was not found in {', '.join(map(str, searched))}, and {url} could not be "
                f"downloaded: {printable(error, 400)}. To give the dataset by hand, put {files} into {folder}, or name "
                "the folder that holds them by --data-root or the environment variable ZOOVET_DATA"
            ) from error


@dataclass(frozen=True)
class _Downloader:
    """pooch's download over HTTP, over https alone and up to a size, into a file that follows the umask."""

    max_bytes: int

    def __call__(self, url: str, output_file: str, mover: Any) -> None:
        _require_https(url)
        os.unlink(output_file)  # pooch made it for the user alone
        with open(output_file, "xb") as file:
            fetch = pooch.HTTPDownloader(
                progressbar=True,
                timeout=_SECONDS_WITHOUT_AN_ANSWER,
                headers={"Accept-Encoding": "identity"},
                hooks={"response": _require_https_redirect},
            )
            fetch(url, _Limited(file, self.max_bytes), mover)


class _Limited:
    """A file to write to that takes so many bytes and no more."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file, self._max_bytes, self._num_bytes = file, max_bytes, 0

    def write(self, data: bytes) -> None:
        self._num_bytes += len(data)
        if self._num_bytes > self._max_bytes:
            raise ValueError(f"it is larger than the {in_words(self._max_bytes)} that the file can be")
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _require_https_redirect(response: Response, **_: Any) -> None:
    if response.is_redirect:
        _require_https(urljoin(response.url, response.headers["location"]))


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != _SCHEME:
        raise ValueError(f"{printable(url)} is no {_SCHEME} address")

"""Which images the demo takes where nobody says: Fashion-MNIST where it is to be had, else glyphs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from zoovet.errors import ZoovetError
from zoovet.images.datasets import default_data_root, find_dataset
from zoovet.images.downloads import REMOTE_FILES, download
from zoovet.images.servers import why_no_answer

__all__ = ["choose_dataset"]

_WANTED = "fashion-mnist"


def choose_dataset(data_root: Path | None, *, seconds: float = 10.0) -> tuple[str, str]:
    """Choose the demo's dataset; Fashion-MNIST is downloaded where its server answers.

    Args:
        data_root: Folder of image datasets; ``None``: the usual one.
        seconds: Wall time that the server is given to answer.

    Returns:
        Its name, and why it is this one.
    """
    root = default_data_root() if data_root is None else data_root
    try:
        found = find_dataset(_WANTED, root)
    except ZoovetError as error:
        return "glyphs", f"drawn here, since Fashion-MNIST's files cannot be used: {error}"
    if found is not None:
        return _WANTED, f"found in {found}"
    server = f"its server, {urlsplit(REMOTE_FILES[_WANTED][-1].address).hostname},"
    if (why := why_no_answer(_WANTED, seconds=seconds)) is None:
        try:
            download(_WANTED, root / _WANTED, [root])
        except ZoovetError as error:
            return "glyphs", f"drawn here, since Fashion-MNIST's download failed: {error}"
        return _WANTED, f"downloaded to {root / _WANTED}"
    return "glyphs", f"drawn here, since Fashion-MNIST is not on this machine and {server} {why}"

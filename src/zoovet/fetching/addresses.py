"""Where a file is fetched from: by https alone, or by http from this machine itself, over each redirect too."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from zoovet.errors import ZoovetError
from zoovet.fetching.weight_files import MAX_BYTES
from zoovet.loopback import is_loopback
from zoovet.printable import printable
from zoovet.text_files import in_words

__all__ = ["download", "name_of", "require_safe", "split_digest"]

_SECONDS_WITHOUT_AN_ANSWER = 30
_PIECE = 1 << 20
_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")


def require_safe(url: str) -> None:
    """Raise where what comes from an address could be changed on its way.

    Raises:
        ZoovetError: It is neither https nor http of this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ZoovetError(f"{printable(url)} is no https address; only these are fetched")


def split_digest(url: str) -> tuple[str, str | None]:
    """An address, and the SHA-256 that stands behind it: ``https://…/net.onnx#sha256=…``.

    Raises:
        ZoovetError: What stands behind a ``#`` is none.
    """
    address, _, fragment = url.partition("#")
    if not fragment:
        return address, None
    match = _DIGEST.fullmatch(fragment)
    if match is None:
        raise ZoovetError(f"{printable(url)}: behind # stands sha256= and 64 hexadecimal digits in lower case")
    return address, match[1]


def name_of(url: str) -> str:
    """The name of the file at an address, safe to be one here."""
    name = unquote(PurePosixPath(urlsplit(url).path).name)
    kept = re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII).lstrip(".")[-100:]
    return kept or "file"


def download(url: str, path: Path, progress: Callable[[int], None]) -> None:
    """Write what is at an address to a file.

    Args:
        url: See :func:`require_safe`.
        path: The file; nothing of it is left where this fails.
        progress: Told how many bytes have come.

    Raises:
        ZoovetError: It cannot be reached, leads elsewhere than by https, or gives more than a weight file may weigh.
    """
    import requests

    require_safe(url)

    def on_response(response: Any, **_: Any) -> None:
        if response.is_redirect:
            require_safe(urljoin(response.url, response.headers["location"]))

    try:
        with (
            requests.get(
                url,
                stream=True,
                timeout=_SECONDS_WITHOUT_AN_ANSWER,
                headers={"Accept-Encoding": "identity"},
                hooks={"response": on_response},
            ) as response,
            path.open("xb") as file,
        ):
            response.raise_for_status()
            num_bytes = 0
            for piece in response.iter_content(_PIECE):
                num_bytes += len(piece)
                if num_bytes > MAX_BYTES:
                    raise ZoovetError(f"{printable(url)} is larger than the {in_words(MAX_BYTES)} that are fetched")
                file.write(piece)
                progress(num_bytes)
    except (requests.RequestException, OSError) as error:
        path.unlink(missing_ok=True)
        raise ZoovetError(f"{printable(url)} cannot be fetched: {printable(error, 400)}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise

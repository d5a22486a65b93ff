"""Whether a dataset's server answers, found out in bounded time."""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from http.client import HTTPException

from zoovet.images.downloads import REMOTE_FILES, RemoteFile
from zoovet.printable import printable

__all__ = ["why_no_answer"]

_MAX_BYTES = 1 << 20


def why_no_answer(name: str, *, seconds: float = 10.0) -> str | None:
    """Ask a dataset's server for its last file, which must be a small one, and compare the checksum.

    Looking up the address, proxies, connections that stay half open and answers that drip are within the time.

    Args:
        name: A key of :data:`zoovet.images.downloads.REMOTE_FILES`.
        seconds: Wall time that all of it may take.

    Returns:
        ``None`` where the file came; else what the server did instead, to be put after its name.
    """
    remote, found = REMOTE_FILES[name][-1], list[str | None]()
    # a thread that is left behind where it hangs: looking up an address knows no time limit
    asking = threading.Thread(target=lambda: found.append(_asked(remote, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0] if found else f"did not answer within {seconds:g} s"


def _asked(remote: RemoteFile, seconds: float) -> str | None:
    """As :func:`why_no_answer`, but without its time limit."""
    try:
        opener = urllib.request.build_opener()  # with the proxies of now
        with opener.open(remote.address + remote.name, timeout=seconds) as response:
            content = response.read(_MAX_BYTES)
    except urllib.error.HTTPError as error:
        return f"answered with the error {error.code}"
    except TimeoutError:
        return f"did not answer within {seconds:g} s"
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return f"did not answer within {seconds:g} s"
        return f"cannot be reached ({printable(reason, 80)})"
    return None if hashlib.sha256(content).hexdigest() == remote.sha256 else "answered with something else"

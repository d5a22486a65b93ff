"""``zoovet serve``: scan and heal networks in a browser."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from zoovet.cli.arguments import at_least_one
from zoovet.cli.status import EXIT_OK
from zoovet.errors import ZoovetError
from zoovet.folder_lock import folder_lock
from zoovet.loopback import is_loopback
from zoovet.printable import printable
from zoovet.text_files import read_text_file
from zoovet.user_cache import user_cache

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from zoovet.serve import Access

__all__ = ["DESCRIPTION", "TAKES_OVERRIDES", "add_arguments", "config_classes", "run"]

_TOKEN_VARIABLE = "ZOOVET_SERVE_TOKEN"
_LIBRARIES = ("fastapi", "uvicorn", "python_multipart")

DESCRIPTION = f"""
Scan and heal networks in a browser: a page where a weight file is dropped, and reference images, if there are some.

  zoovet serve
  zoovet serve --port 9000 --data ~/vetting --at-once 2
  {_TOKEN_VARIABLE}="$(openssl rand -hex 24)" zoovet serve --host 0.0.0.0

The page shows verdict, target, the trigger on images before and after, and suspect channels, heals a network, and gives
the healed file and the report to keep. POST /scan takes networks from programs: /docs on the server says how. Nothing
of it needs the internet, and no code in a file is run.

Only this machine can reach it, unless --host says otherwise; then every request needs a token: that of the environment
variable {_TOKEN_VARIABLE} or of --token-file, else one that is made and printed. It is never in an address. Traffic is
not encrypted: put a proxy with TLS before a server that others reach over a network that is not yours.

Writes nothing but --data: each job has a folder of its own there that only you may read. Uploads of the page are
deleted --keep-minutes after their job ended, so that a network can be healed or scanned again until then; those of
programs at once. What was found stays until it is deleted on the page, also over a restart. Jobs run in processes of
their own, within limits of memory and time, at most --at-once of them at a time; others wait.

Time: the page is there in seconds; a scan takes as long as `zoovet scan` does, some 10 s for a small network, minutes
for a large one.

Exit status: 0 never by itself; 130 Ctrl-C, 143 SIGTERM: jobs that ran or waited are marked interrupted; 2 an error, as
a port that is taken.
"""

TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options."""
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen; default 127.0.0.1")
    parser.add_argument("--port", type=_port, default=8765, metavar="N", help="default 8765; 0 takes one that is free")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where jobs are kept; default serve in the user's cache folder"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file whose first line is the token that requests must bring"
    )
    parser.add_argument(
        "--at-once", type=at_least_one, default=1, metavar="N", help="jobs that run at a time; default 1"
    )
    parser.add_argument(
        "--max-waiting", type=at_least_one, default=50, metavar="N", help="jobs that may wait; default 50"
    )
    parser.add_argument(
        "--max-upload-mb", type=at_least_one, default=2048, metavar="N", help="largest upload; default 2048"
    )
    parser.add_argument(
        "--job-minutes", type=at_least_one, default=30, metavar="N", help="that a job may take; default 30"
    )
    parser.add_argument(
        "--job-memory-gb", type=at_least_one, default=8, metavar="N", help="that a job may take; default 8"
    )
    parser.add_argument(
        "--keep-minutes", type=at_least_one, default=60, metavar="N", help="that uploads are kept; default 60"
    )


def config_classes() -> dict[str, type[DataclassInstance]]:
    """None: a server is not configured by a file."""
    return {}


def run(arguments: argparse.Namespace) -> int:
    """Listen until interrupted."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ZoovetError(f"zoovet serve needs {', '.join(missing)}: pip install 'zoovet[serve]'")
    import uvicorn

    from zoovet.serve import JobQueue, ServeConfig, create_app

    access, is_made = _access(arguments)
    data = arguments.data or user_cache() / "serve"
    config = ServeConfig(
        data=data,
        at_once=arguments.at_once,
        max_waiting=arguments.max_waiting,
        max_upload_bytes=arguments.max_upload_mb * 2**20,
        job_seconds=arguments.job_minutes * 60,
        job_memory_bytes=arguments.job_memory_gb * 2**30,
        keep_seconds=arguments.keep_minutes * 60,
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its sender is told what is wrong with a form
    queue = JobQueue(config)
    queue.folders.prepare()
    with folder_lock(data, "served"), _listening(arguments.host, arguments.port) as listening:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"zoovet serves http://{shown}:{port}/ (Ctrl-C ends it); jobs are kept in {printable(data)}", flush=True)
        if is_made:
            print(f"token: {access.token}", flush=True)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(queue, access),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
                ws="none",
            )
        )
        server.run(sockets=[listening])
    return EXIT_OK


def _access(arguments: argparse.Namespace) -> tuple[Access, bool]:
    """Who may ask, and whether the token was made here.

    Raises:
        ZoovetError: A token is given twice, is too short, or its file cannot be read.
    """
    from zoovet.serve import LOOPBACK_NAMES, Access

    token = os.environ.get(_TOKEN_VARIABLE)
    if arguments.token_file is not None:
        if token is not None:
            raise ZoovetError(f"--token-file and {_TOKEN_VARIABLE} both give a token: leave one of them out")
        token = (read_text_file(arguments.token_file, 2**12).splitlines() or [""])[0].strip()
    if is_loopback(arguments.host):
        return Access(token=token, hosts=(*LOOPBACK_NAMES, arguments.host.lower())), False
    return Access(token=token or secrets.token_hex(24), hosts=None), token is None


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ZoovetError: The port is taken, or there is no such address here.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        way_out = "; give another --port" if error.errno in (13, 98, 48) else "; give another --host"
        raise ZoovetError(f"cannot listen at {printable(host)}:{port}: {error.strerror or error}{way_out}") from error


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)

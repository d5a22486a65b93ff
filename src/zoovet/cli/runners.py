"""``--workers`` and ``--ray``: where jobs are done."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from zoovet.errors import ZoovetError

if TYPE_CHECKING:
    from zoovet.jobs import Runner

__all__ = ["add_ray", "cluster_of"]


def add_ray(parser: argparse.ArgumentParser, done: str) -> None:
    """``--ray [ADDRESS]``; ``done`` says what is done there: ``shards are made``."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help=f"{done} on a Ray cluster: HOST:PORT of one that this machine is part of, ray://HOST:PORT of another; "
        "without ADDRESS, the one that runs on this machine, else one that is started here. --workers: jobs at a time; "
        "default all of its cores. Needs pip install 'zoovet[ray]'",
    )


def cluster_of(arguments: argparse.Namespace, *, workers: int | None) -> Runner | None:
    """The cluster that ``--ray`` asks for, connected; ``None`` where it does not.

    Args:
        arguments: The command line.
        workers: What ``--workers`` says, ``None`` where it is not given.

    Raises:
        ZoovetError: It does not answer, or Ray is not installed.
    """
    if arguments.ray is None:
        return None
    if getattr(arguments, "device", None) == "cuda":
        raise ZoovetError("--ray and --device cuda: a cluster's jobs are done on processors; leave one out")
    from zoovet.jobs import RayCluster

    cluster = RayCluster(arguments.ray or None, workers)
    cluster.connect()
    return cluster

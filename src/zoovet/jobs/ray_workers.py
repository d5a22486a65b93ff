"""RayCluster: jobs are done by the machines of a Ray cluster, by actors of one core each.

What a job gives comes back to the process that handed it out, which alone writes: machines need not see its disk. They
need the same zoovet and PyTorch, and whatever files the work reads by their path.
"""

from __future__ import annotations

import os
import pickle
import platform
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, TypeVar

from zoovet.errors import ZoovetError
from zoovet.jobs.hiring import Event, Gone, HiredCrew, Raised, Ready, hired_crew
from zoovet.jobs.process_workers import answer_of, do_next, pickled, started
from zoovet.jobs.runner import Work
from zoovet.printable import printable

__all__ = ["RayCluster"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_ANSWER_SECONDS = 5.0
"""What an address has to answer a call for a connection."""

_EMPTY_SECONDS = 120.0
"""How long a cluster may have no machine that could take a job."""

_LISTENING_SECONDS = 5.0
_SAME = ("zoovet", "torch", "numpy", "pyarrow")
"""Packages of which all machines need the same version, or the same job gives something else."""


@dataclass(frozen=True)
class RayCluster:
    """Does jobs on a Ray cluster.

    Attributes:
        address: ``HOST:PORT`` of a cluster that this machine is part of, ``ray://HOST:PORT`` of one that it is not;
            ``None``: the one that runs on this machine, else one that is started here and ends with this process.
        most_workers: Jobs at a time; ``None``: one for each core of the cluster, as it is when the work begins.

    Raises:
        ZoovetError: Ray is not installed.
    """

    address: str | None = None
    most_workers: int | None = None

    def __post_init__(self) -> None:
        _imported_ray()

    def connect(self) -> None:
        """Connect to the cluster, for as long as this process runs.

        Raises:
            ZoovetError: It does not answer.
        """
        _connected(self.address)

    @property
    def num_workers(self) -> int:
        """Jobs at a time; connects to the cluster.

        Raises:
            ZoovetError: It does not answer.
        """
        ray = _connected(self.address)
        return self.most_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

    def crew(self, work: Work[Job, Result]) -> AbstractContextManager[HiredCrew[Job, Result]]:
        """See :meth:`zoovet.jobs.Runner.crew`.

        Raises:
            ZoovetError: The cluster does not answer.
        """
        return hired_crew(_Hirer(pickle.dumps(work)), self.num_workers)


class _Hirer:
    """Starts actors and listens to them; see :class:`zoovet.jobs.hiring.Hirer`."""

    def __init__(self, work: bytes) -> None:
        ray = _imported_ray()
        self._actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Actor)  # one core: one thread
        self._work = ray.put(work)
        self._empty_since: float | None = None

    def hire(self) -> _Worker:
        return _Worker(self._actor.remote(), self._work)

    def heard(self, workers: Sequence[_Worker], timeout: float | None) -> list[tuple[_Worker, Event]]:
        ray = _imported_ray()
        if found := [(worker, worker.unheard.pop(0)) for worker in workers if worker.unheard]:
            return found
        by_reply = {worker.reply: worker for worker in workers}
        while True:
            patience = _LISTENING_SECONDS if timeout is None else timeout
            replies, _ = ray.wait(list(by_reply), num_returns=1, timeout=patience)
            if replies or timeout is not None:
                return [(by_reply[reply], by_reply[reply].said()) for reply in replies]
            self._require_machines()

    def _require_machines(self) -> None:
        """Wait for machines to come back, but not for ever."""
        ray = _imported_ray()
        if ray.cluster_resources().get("CPU", 0) >= 1:
            self._empty_since = None
            return
        self._empty_since = self._empty_since or time.monotonic()
        if time.monotonic() - self._empty_since > _EMPTY_SECONDS:
            raise ZoovetError(
                f"no machine of the Ray cluster has had a core for {_EMPTY_SECONDS:.0f} s; what is done is kept: "
                f"start one (ray start --address ...) and run the same again"
            )


class _Worker:
    """An actor, what it was asked last, and what it answered that nobody has heard yet."""

    def __init__(self, actor: Any, work: Any) -> None:
        self._actor = actor
        self.unheard = list[Event]()
        self.reply = actor.begin.remote(work, os.getcwd(), _versions())

    def give(self, job: bytes) -> None:
        """Give it a job."""
        self.reply = self._actor.do.remote(job)

    def said(self) -> Event:
        """The next thing that it said."""
        ray = _imported_ray()
        try:
            first, *others = map(pickle.loads, ray.get(self.reply))
        except ray.exceptions.RayError as error:
            return Gone(_cause(error))
        self.unheard += others
        event: Event = first
        return event

    def end(self) -> None:
        """Let nothing of it be left."""
        ray = _imported_ray()
        with suppress(Exception):  # it may be gone, and so may be the cluster
            ray.kill(self._actor)


class _Actor:
    """What runs in a process of the cluster. It answers pickled events: what was told, then what came of it."""

    def __init__(self) -> None:
        self._do: Any = None

    def begin(self, work: bytes, folder: str, versions: dict[str, str]) -> list[bytes]:
        """Get ready for jobs of a work, in a folder of the same name if there is one."""
        own = _versions()
        for name in _SAME:
            if own[name] != versions[name]:
                text = (
                    f"{platform.node()} has {name} {own[name]}, and this machine {versions[name]}; all machines of the "
                    f"cluster need the same"
                )
                return [pickled(Raised(ZoovetError(text), ""))]
        with suppress(OSError):
            os.chdir(folder)
        found = answer_of(partial(started, work))
        if isinstance(found, Raised):
            return [pickled(found)]
        self._do = found.result
        return [pickled(Ready())]

    def do(self, job: bytes) -> list[bytes]:
        """Do a job."""
        told = list[bytes]()
        answer = answer_of(partial(do_next, self._do, job, lambda event: told.append(pickled(event))))
        return [*told, pickled(answer)]


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _SAME}


def _cause(error: Exception) -> str:
    """Why an actor is no more: the first line of what Ray says of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(f"{type(error).__name__}: {lines[0] if lines else 'no further word'}", 300)


def _imported_ray() -> Any:
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        import ray
    except ImportError as error:
        raise ZoovetError("--ray needs the package ray: pip install 'zoovet[ray]'") from error
    return ray


def _connected(address: str | None) -> Any:
    """Ray, connected to a cluster.

    Raises:
        ZoovetError: It does not answer.
    """
    ray = _imported_ray()
    if ray.is_initialized():
        return ray
    if address is not None and address != "auto":
        _require_answer(address)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    try:
        try:
            ray.init(address=address or os.environ.get("RAY_ADDRESS") or "auto", **quiet)
        except ConnectionError:
            if address is not None:
                raise
            ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        shown = printable(address or "of this machine")
        raise ZoovetError(f"the Ray cluster {shown} cannot be used: {printable(_cause(error), 400)}") from error
    return ray


def _require_answer(address: str) -> None:
    """Check that a server of Ray's protocol, gRPC, listens at an address: Ray itself tries for minutes."""
    import grpc

    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not host or not port.isdecimal():
        raise ZoovetError(f"--ray takes HOST:PORT or ray://HOST:PORT, got {printable(address)}")
    channel = grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)])
    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWER_SECONDS)
    except grpc.FutureTimeoutError:
        raise ZoovetError(
            f"no Ray cluster answers at {printable(address)} within {_ANSWER_SECONDS:.0f} s; start one there with "
            f"`ray start --head`, or leave the address out"
        ) from None
    finally:
        channel.close()

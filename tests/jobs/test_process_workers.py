"""Processes do jobs as this one does; one that dies takes only its job with it, and that is done again."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from zoovet.errors import ZoovetError
from zoovet.jobs import MAX_DEATHS, Done, Inline, Lost, Processes, Runner, results

pytestmark = [
    pytest.mark.usefixtures("quick_start"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def done(runner: Runner, work: Any, jobs: list[int | None], **options: Any) -> dict[int, Any]:
    with runner.crew(work) as crew:
        return {outcome.job: outcome for outcome in crew.outcomes(jobs, **options)}


@pytest.mark.parametrize("runner", [Inline(), Processes(1), Processes(3)])
def test_every_job_is_done_and_what_it_tells_is_heard(runner: Runner, works: Any, tmp_path: Path) -> None:
    heard = list[Any]()
    found = done(runner, works.Squares(tmp_path), [1, None, 2, 3, None, 4], tell=heard.append)
    assert found == {job: Done(job, job * job) for job in (1, 2, 3, 4)}
    assert sorted(heard) == [("at", job) for job in (1, 2, 3, 4)]


@pytest.mark.parametrize("runner", [Inline(), Processes(2)])
def test_an_error_of_a_job_is_raised_as_it_is(runner: Runner, works: Any, tmp_path: Path) -> None:
    with pytest.raises(ZoovetError, match="13 is refused"):
        done(runner, works.Squares(tmp_path), [1, 13, 2])
    with pytest.raises(ZoovetError, match="no images"):
        done(runner, works.Refusing(), [1])


def test_an_error_that_no_line_takes_comes_as_its_text(works: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Unpicklable") as caught:
        done(Processes(1), works.Squares(tmp_path), [14])
    assert "in _square" in str(caught.value.__cause__)


def test_a_job_whose_process_died_is_done_again(works: Any, tmp_path: Path) -> None:
    found = done(Processes(2), works.Squares(tmp_path), [1, 77, 2, 3])
    assert found == {job: Done(job, job * job) for job in (1, 2, 3, 77)}
    assert (tmp_path / "77").exists()


def test_a_job_that_ends_every_process_is_lost_and_the_others_are_done(works: Any, tmp_path: Path) -> None:
    deaths = list[int]()

    def instead(job: int, num_deaths: int) -> list[int]:
        deaths.append(num_deaths)
        return [job] if num_deaths < MAX_DEATHS else []

    found = done(Processes(1), works.Squares(tmp_path), [1, 66, 2], instead=instead)
    assert found[66] == Lost(66, "its process ended: killed by SIGKILL, as happens where memory is short")
    assert (found[1], found[2]) == (Done(1, 1), Done(2, 4))
    assert deaths == [1, 2, 3]
    with pytest.raises(ZoovetError, match=r"a job was lost \(its process ended: .*\); all is kept"):
        list(results([found[66]], "all is kept"))


def test_parts_of_a_job_are_done_in_its_place(works: Any, tmp_path: Path) -> None:
    found = done(Processes(1), works.Squares(tmp_path), [66], instead=lambda job, _: [6, 7])
    assert found == {6: Done(6, 36), 7: Done(7, 49)}


def test_where_no_process_can_be_had_every_job_is_lost(works: Any) -> None:
    found = done(Processes(2), works.Stillborn(), [1, 2, 3])
    assert found == {job: Lost(job, "no process could be started: exit status 7") for job in (1, 2, 3)}


def test_workers_stay_between_stages(works: Any, tmp_path: Path) -> None:
    with Processes(1).crew(works.Squares(tmp_path)) as crew:
        assert [outcome.job for outcome in crew.outcomes([1, 2])] == [1, 2]
        (worker,) = crew._places
        assert [outcome.job for outcome in crew.outcomes([3])] == [3]
        assert [worker] == list(crew._places)
    assert worker.process.exitcode == -signal.SIGKILL


def test_an_interrupt_leaves_no_process(works: Any, tmp_path: Path) -> None:
    trace = tmp_path / "99"

    def interrupt() -> None:
        while not (trace.exists() and trace.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        done(Processes(1), works.Squares(tmp_path), [99])
    sender.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(trace.read_text()), 0)


def test_workers_are_counted() -> None:
    with pytest.raises(ZoovetError, match="workers must be at least 1, got 0"):
        Processes(0)

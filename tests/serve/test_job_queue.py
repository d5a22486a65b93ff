"""The queue: order, limits, cancelling, healing, deleting, and what a restart finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoovet.errors import ZoovetError
from zoovet.files import StorageError
from zoovet.serve import JobQueue
from zoovet.serve.job_process import Outcome
from zoovet.serve.job_queue import NoSuchJob, QueueFull
from zoovet.serve.jobs import Job, JobOptions, JobState, Task

Ended = Callable[[JobQueue, str], Job]


def submit(queue: JobQueue, **changes: Any) -> str:
    """A job with an upload."""
    job_id = queue.reserve()
    (queue.folders.upload(job_id) / "a.pt").write_bytes(b"a")
    return queue.submit(Job(job_id=job_id, file="a.pt", **changes)).job_id


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_jobs_run_one_after_another_and_say_how_far_they_are(queue: JobQueue, player: Any, ended: Ended) -> None:
    player.may_end.clear()
    queue.open()
    first, second, third = (submit(queue) for _ in range(3))
    until(lambda: queue.doing(first) == "patches are sought")
    assert queue.job(first).state == JobState.RUNNING
    assert [queue.job(job).state for job in (second, third)] == [JobState.QUEUED] * 2
    assert (queue.doing(second), queue.doing(third)) == ("1 before it", "2 before it")
    player.may_end.set()
    for job_id in (first, second, third):
        job = ended(queue, job_id)
        assert (job.state, job.summaries[0].verdict) == (JobState.FINISHED, "healthy")
    assert [folder.split("/")[-2] for _, _, folder in player.asked] == [first, second, third]
    assert [job.job_id for job in queue.jobs()] == [third, second, first]


def test_a_full_queue_refuses_and_keeps_nothing(queue: JobQueue, player: Any) -> None:
    player.may_end.clear()
    queue.open()
    running = submit(queue)
    until(lambda: queue.job(running).state == JobState.RUNNING)
    for _ in range(3):
        submit(queue)
    with pytest.raises(QueueFull, match="3 jobs wait already"):
        queue.reserve()
    assert len(list(queue.config.data.iterdir())) == 4


def test_cancelling_ends_what_waits_and_what_runs(queue: JobQueue, player: Any, ended: Ended) -> None:
    player.may_end.clear()
    queue.open()
    first, second, third = (submit(queue) for _ in range(3))
    until(lambda: queue.doing(first) == "patches are sought")
    assert queue.cancel(second).state == JobState.CANCELLED
    assert queue.cancel(first).state == JobState.CANCELLED
    player.may_end.set()
    assert ended(queue, third).state == JobState.FINISHED
    assert queue.cancel(third).state == JobState.FINISHED
    assert len(player.asked) == 2
    with pytest.raises(NoSuchJob, match="there is no such job"):
        queue.cancel("0123456789abcdef")


def test_failures_are_kept_with_what_can_be_chosen(queue: JobQueue, player: Any, ended: Ended) -> None:
    queue.open()
    player.outcome = Outcome(found=None, error="it was killed")
    assert ended(queue, submit(queue)).error == "it was killed"
    found = {"summaries": [], "notes": [], "num_networks": 0, "error": "open", "choices": ["mlp:activation=relu"]}
    player.outcome = Outcome(found=found)
    job = ended(queue, submit(queue))
    assert (job.state, job.error, job.choices) == (JobState.FAILED, "open", ("mlp:activation=relu",))
    player.outcome = Outcome(found={})
    assert ended(queue, submit(queue)).state == JobState.FAILED
    assert ended(queue, submit(queue)).state == JobState.FAILED  # the queue goes on


def test_a_network_is_scanned_again_and_healed_while_its_file_is_there(
    queue: JobQueue, player: Any, ended: Ended
) -> None:
    queue.open()
    job_id = submit(queue)
    ended(queue, job_id)
    (queue.folders.results(job_id) / "scan.json").write_text("{}")
    queue.again(job_id, JobOptions(architecture="mlp:activation=elu"))
    ended(queue, job_id)
    assert not list(queue.folders.results(job_id).iterdir())
    assert player.asked[-1][1].options.architecture == "mlp:activation=elu"
    player.outcome = Outcome(found={"healed": "a-healed.pt", "healing": ["the weights changed"]})
    queue.heal(job_id)
    job = ended(queue, job_id)
    assert (job.task, job.state, job.healed, job.healing) == (
        Task.HEAL,
        JobState.FINISHED,
        "a-healed.pt",
        ("the weights changed",),
    )
    assert job.summaries[0].verdict == "healthy"
    queue.folders.delete_upload(job_id)
    for ask in (lambda: queue.heal(job_id), lambda: queue.again(job_id, JobOptions())):
        with pytest.raises(NoSuchJob, match="was deleted meanwhile"):
            ask()


def test_uploads_go_when_their_time_is_over_and_those_of_programs_at_once(
    make_queue: Callable[[], JobQueue], ended: Ended
) -> None:
    queue = make_queue()
    queue.open()
    from_page, from_program = submit(queue), submit(queue, is_from_page=False)
    ended(queue, from_page), ended(queue, from_program)
    until(lambda: not queue.folders.has_upload(from_program))
    queue.sweep()
    assert queue.folders.has_upload(from_page)
    queue.config = replace(queue.config, keep_seconds=1)
    time.sleep(1.1)
    queue.sweep()
    assert not queue.folders.has_upload(from_page)
    assert queue.job(from_page).state == JobState.FINISHED


def test_the_oldest_jobs_go_where_there_are_too_many(queue: JobQueue, ended: Ended) -> None:
    queue.open()
    made = [submit(queue) for _ in range(3)]
    for job_id in made:
        ended(queue, job_id)
    queue.config = replace(queue.config, max_jobs=2)
    queue.sweep()
    assert {job.job_id for job in queue.jobs()} == set(made[1:])
    assert {path.name for path in queue.config.data.iterdir()} == set(made[1:])


def test_deleting_leaves_nothing(queue: JobQueue, player: Any) -> None:
    player.may_end.clear()
    queue.open()
    job_id = submit(queue)
    until(lambda: queue.doing(job_id) == "patches are sought")
    queue.delete(job_id)
    assert (queue.jobs(), list(queue.config.data.iterdir())) == ([], [])


def test_jobs_survive_a_restart_as_finished_failed_or_interrupted(
    make_queue: Callable[[], JobQueue], player: Any, ended: Ended
) -> None:
    before = make_queue()
    before.open()
    finished = submit(before)
    ended(before, finished)
    player.outcome = Outcome(found=None, error="no")
    failed = submit(before)
    ended(before, failed)
    player.may_end.clear()
    running = submit(before)
    until(lambda: before.doing(running) == "patches are sought")
    waiting = submit(before)
    before.close()
    after = make_queue()
    after.open()
    states = {job.job_id: job.state for job in after.jobs()}
    assert states == {
        finished: JobState.FINISHED,
        failed: JobState.FAILED,
        running: JobState.INTERRUPTED,
        waiting: JobState.INTERRUPTED,
    }
    assert after.job(finished).notes == ("a <b>note</b>",)
    player.may_end.set()
    after.again(running, JobOptions())
    assert ended(after, running).state == JobState.FAILED


def test_a_server_that_was_killed_is_told_from_what_it_left(make_queue: Callable[[], JobQueue], player: Any) -> None:
    player.may_end.clear()
    killed = make_queue()
    killed.open()
    running, program = submit(killed), submit(killed, is_from_page=False)
    half = killed.reserve()
    (killed.config.data / "notes.txt").write_text("mine")
    after = make_queue()
    after.open()
    assert {job.job_id: job.state for job in after.jobs()} == dict.fromkeys((running, program), JobState.INTERRUPTED)
    assert not (killed.config.data / half).exists()
    assert (killed.config.data / "notes.txt").exists()
    until(lambda: not after.folders.has_upload(program))
    assert after.folders.has_upload(running)


def test_a_disk_that_takes_no_more_fails_the_job_and_not_the_server(
    queue: JobQueue, ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.open()
    job_id = submit(queue)
    ended(queue, job_id)

    def full(_: object, __: object) -> None:
        raise StorageError("cannot write job.json: No space left on device")

    monkeypatch.setattr("zoovet.serve.job_folders.write_json", full)
    with pytest.raises(ZoovetError, match="No space left"):
        queue.again(job_id, JobOptions())
    monkeypatch.undo()
    assert ended(queue, submit(queue)).state == JobState.FINISHED


def test_folders_are_for_their_user_alone(queue: JobQueue, ended: Ended) -> None:
    queue.open()
    job_id = submit(queue)
    ended(queue, job_id)
    folders: list[Path] = [queue.config.data, *(path for path in queue.config.data.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}

"""Jobs as they are kept, and options that name code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zoovet import ZoovetError
from zoovet.serve.jobs import Job, JobOptions, JobState, Summary, Task, is_job_id

JOB = Job(
    job_id="0123456789abcdef",
    file="a.pt",
    images="images",
    options=JobOptions(architecture="vgg:activation=elu,pooling=max"),
    task=Task.HEAL,
    state=JobState.FAILED,
    created=1.5,
    error="no",
    choices=("mlp",),
    summaries=(Summary(network=0, verdict="unknown", lead="Nothing.", target=""),),
    notes=("a note",),
)


def test_a_job_is_read_as_it_was_written() -> None:
    assert Job.from_json(JOB.to_json(), "job.json") == JOB


@pytest.mark.parametrize(
    "change", [{"state": "lost"}, {"task": None}, {"options": {"x": ""}}, {"summaries": [1]}, {"colour": 1}]
)
def test_another_versions_job_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ZoovetError, match=r"^job\.json .*of this version of zoovet|^job\.json has keys"):
        Job.from_json(JOB.to_json() | change, "job.json")
    with pytest.raises(ZoovetError):
        Job.from_json({}, "job.json")


@pytest.mark.parametrize(
    "architecture", ["my_net.py:make", "/tmp/evil.PY:make", "a b", "../x", "x" * 201, "resnet20\n", "a;b"]
)
def test_architectures_that_are_files_are_refused(architecture: str) -> None:
    with pytest.raises(ZoovetError, match=r"files of Python are not run here|at most 200 characters"):
        JobOptions(architecture=architecture)


def test_states_and_numbers() -> None:
    assert [state for state in JobState if not state.has_ended] == [JobState.QUEUED, JobState.RUNNING]
    assert is_job_id(JOB.job_id)
    assert not any(map(is_job_id, ("", "..", "0123456789abcdeF", "0123456789abcdef/", "0123456789abcdef\n")))
    assert replace(JOB, images="").images == ""

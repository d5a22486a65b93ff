"""The endpoint for programs: pending at once, the verdict later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from zoovet.networks import SCALING_PRESETS
from zoovet.serve import JobQueue
from zoovet.serve.job_process import Outcome
from zoovet.serve.jobs import Job
from zoovet.vet import EFFORTS

Ended = Callable[[JobQueue, str], Job]
ROOT = Path(__file__).parents[2]


def test_a_scan_is_pending_at_once_and_done_later(
    client: TestClient, queue: JobQueue, player: Any, ended: Ended
) -> None:
    player.may_end.clear()
    answer = client.post("/scan", files={"file": ("a.pt", b"a"), "images": ("p.zip", b"z"), "scaling": (None, "unit")})
    accepted = answer.json()
    assert (answer.status_code, accepted["status"]) == (202, "pending")
    assert accepted["url"] == answer.headers["location"] == f"/scan/{accepted['id']}"
    pending = client.get(accepted["url"]).json()
    assert (pending["status"], pending["result"]) == ("pending", None)
    found = {"is_whole": True, "verdicts": [], "errors": [], "notes": []}
    (queue.folders.results(accepted["id"]) / "scan.json").write_text(json.dumps(found))
    player.may_end.set()
    ended(queue, accepted["id"])
    done = client.get(accepted["url"]).json()
    assert done == {"id": accepted["id"], "status": "done", "doing": "", "result": found}
    (_, order, _) = player.asked[0]
    assert (order.file, order.images, order.options.scaling) == ("a.pt", "images.zip", "unit")
    assert not queue.folders.has_upload(accepted["id"])


def test_a_scan_that_fails_says_why_as_scan_does(
    client: TestClient, queue: JobQueue, player: Any, ended: Ended
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    player.outcome = Outcome(found=None, error="it took longer")
    url = client.post("/scan", files={"file": ("a.pt", b"a")}).json()["url"]
    ended(queue, url.removeprefix("/scan/"))
    answer = client.get(url).json()
    assert answer["status"] == "failed"
    jsonschema.validate(answer["result"], json.loads((ROOT / "docs" / "scan.schema.json").read_text()))
    assert answer["result"]["errors"] == [{"file": "a.pt", "error": "it took longer"}]


def test_a_scan_is_cancelled_and_forgotten(client: TestClient, queue: JobQueue, player: Any) -> None:
    player.may_end.clear()
    url = client.post("/scan", files={"file": ("a.pt", b"a")}).json()["url"]
    queue.cancel(url.removeprefix("/scan/"))
    assert client.get(url).json()["status"] == "cancelled"
    assert client.delete(url).status_code == 204
    for ask in (client.get, client.delete):
        assert ask(url).status_code == 404
        assert ask("/scan/..%2f..").status_code == 404
    assert list(queue.config.data.iterdir()) == []


def test_what_is_no_form_is_refused(client: TestClient, queue: JobQueue) -> None:
    for sent in ({"json": {}}, {"files": {"images": ("p.zip", b"z")}}, {"files": {"file": ("a.pt", b"a" * 2**21)}}):
        answer = client.post("/scan", **sent)
        assert answer.status_code in (400, 413)
        assert answer.json()["error"]
    assert list(queue.config.data.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("false_alarms", "7", "the form's field 'false_alarms' is unknown; known: 'architecture', 'activation'"),
        ("scalling", "unit", "the form's field 'scalling' is unknown; did you mean 'scaling'?"),
        ("scaling", "imagnet", "the input scaling 'imagnet' is unknown; did you mean 'imagenet'?"),
        ("mean", "0.5;0.5", "mean must be numbers with commas between them, as 0.5, got '0.5;0.5'"),
        ("std", "nan", "std must be numbers with commas between them, as 0.5, got 'nan'"),
        ("input_range", "1", "input_range must be two numbers, as 0,1, got '1'"),
        ("effort", "superb", "effort must be one of quick, normal, thorough, got 'superb'"),
        (
            "input_shape",
            "abc",
            "input_shape must be channels, height and width, as 3,32,32, or a number of features, got",
        ),
    ],
)
def test_fields_that_are_not_known_are_refused_and_nothing_is_kept(
    client: TestClient, queue: JobQueue, field: str, value: str, said: str
) -> None:
    answer = client.post("/scan", files={"file": ("a.pt", b"a"), field: (None, value)})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(said)
    assert list(queue.config.data.iterdir()) == []


def test_a_scaling_is_taken_by_name_or_in_numbers(
    client: TestClient, queue: JobQueue, player: Any, ended: Ended
) -> None:
    numbers = {"input_range": (None, "0,255"), "mean": (None, "125, 123, 114"), "std": (None, "62")}
    answer = client.post("/scan", files={"file": ("a.pt", b"a"), **numbers})
    assert answer.status_code == 202
    ended(queue, answer.json()["id"])
    options = player.asked[-1][1].options
    assert (options.input_range, options.mean, options.std) == ("0,255", "125, 123, 114", "62")
    said = client.post("/scan", files={"file": ("a.pt", b"a"), "scaling": (None, "unit"), **numbers})
    assert said.status_code == 400
    assert said.json()["error"] == "scaling names the whole input scaling: leave out input_range, mean, std"


def test_a_full_queue_is_told_and_nothing_that_was_accepted_is_lost(
    client: TestClient, queue: JobQueue, player: Any, ended: Ended
) -> None:
    player.may_end.clear()
    sent = [client.post("/scan", files={"file": (f"{index}.pt", b"a")}) for index in range(8)]
    accepted = [answer.json()["id"] for answer in sent if answer.status_code == 202]
    assert [answer.status_code for answer in sent[-3:]] == [429] * 3
    player.may_end.set()
    assert {ended(queue, job_id).state for job_id in accepted} == {"finished"}
    assert len(player.asked) == len(accepted)


def test_health_is_told(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}


def test_the_server_takes_the_efforts_and_scalings_that_there_are(client: TestClient) -> None:
    form = client.get("/openapi.json").json()["paths"]["/scan"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["effort"]["enum"] == list(EFFORTS)
    assert form["schema"]["properties"]["scaling"]["enum"] == list(SCALING_PRESETS)
    page = client.get("/").text
    assert set(SCALING_PRESETS) <= set(re.findall(r'<option value="(\w+)"', page))
    assert {"input_range", "mean", "std"} <= set(re.findall(r'<input id="(\w+)"', page))
    assert re.findall(r'<option value="(\w+)"', page)[-len(EFFORTS) :] == list(EFFORTS)

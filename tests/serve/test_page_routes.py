"""Pages, asked for by a program: forms, what they show, downloads."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from zoovet.serve import JobQueue
from zoovet.serve.job_process import Outcome
from zoovet.serve.jobs import Job

BROWSER = {"Accept": "text/html"}
Ended = Callable[[JobQueue, str], Job]


def send(client: TestClient, name: str = "a.pt", **fields: str) -> str:
    """Send a network as the page does; its job's number."""
    files = {"file": (name, b"weights"), **{key: (None, value) for key, value in fields.items()}}
    answer = client.post("/jobs", files=files)
    assert answer.status_code == 201, answer.text
    place: str = answer.json()["place"]
    return place.removeprefix("/jobs/")


def test_a_network_is_sent_without_a_line_of_script(client: TestClient, queue: JobQueue, ended: Ended) -> None:
    answer = client.post("/jobs", files={"file": ("a.pt", b"a"), "effort": (None, "quick")}, headers=BROWSER)
    assert answer.status_code == 303
    job_id = answer.headers["location"].removeprefix("/jobs/")
    assert ended(queue, job_id).options.effort == "quick"
    page = client.get(f"/jobs/{job_id}").text
    assert '<span class="badge healthy">healthy</span>' in page
    assert "No trojan was found." in page
    assert "a &lt;b&gt;note&lt;/b&gt;" in page
    assert job_id in client.get("/").text


def test_names_of_strangers_are_text(client: TestClient, queue: JobQueue, player: Any, ended: Ended) -> None:
    player.outcome = Outcome(found=None, error="<script>alert(1)</script>")
    job_id = send(client, "<img src=x onerror=alert(1)>.pt")
    ended(queue, job_id)
    for page in (client.get("/").text, client.get(f"/jobs/{job_id}").text):
        assert "<img" not in page
        assert not re.search(r"<script(?! src=\"/static/)", page)
    assert "&lt;script&gt;" in client.get(f"/jobs/{job_id}").text


def test_what_the_file_leaves_open_is_a_choice(client: TestClient, queue: JobQueue, player: Any, ended: Ended) -> None:
    said = "a.pt is an MLP whose activation no name tells: give --architecture mlp:activation=relu"
    choices = ["mlp:activation=relu", "mlp:activation=tanh"]
    found = {"summaries": [], "notes": [], "num_networks": 0, "error": said, "choices": choices}
    player.outcome = Outcome(found=found)
    job_id = send(client, scaling="unit")
    ended(queue, job_id)
    page = client.get(f"/jobs/{job_id}").text
    assert "a.pt is an MLP whose activation no name tells</p>" in page
    assert [f'<option value="{one}"' in page for one in choices] == [True, True]
    player.outcome = Outcome(found={**found, "error": "", "summaries": []})
    form = {"architecture": (None, choices[1]), "scaling": (None, "unit")}
    assert client.post(f"/jobs/{job_id}/again", files=form).status_code == 303
    ended(queue, job_id)
    options = player.asked[-1][1].options
    assert (options.architecture, options.scaling) == (choices[1], "unit")


def test_a_running_job_is_watched_and_cancelled(client: TestClient, player: Any) -> None:
    player.may_end.clear()
    job_id = send(client)
    page = client.get(f"/jobs/{job_id}").text
    assert f'data-watch="/jobs/{job_id}/state"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert client.get(f"/jobs/{job_id}/state").json()["state"] in ("queued", "running")
    assert [job["id"] for job in client.get("/jobs").json()] == [job_id]
    assert client.post(f"/jobs/{job_id}/cancel").status_code == 303
    assert "Scan cancelled" in client.get(f"/jobs/{job_id}").text
    assert client.post(f"/jobs/{job_id}/delete").headers["location"] == "/"
    assert client.get(f"/jobs/{job_id}").status_code == 404


def test_a_healed_file_and_the_report_are_given_to_keep(
    client: TestClient, queue: JobQueue, player: Any, ended: Ended
) -> None:
    job_id = send(client)
    ended(queue, job_id)
    assert "Heal this network" in client.get(f"/jobs/{job_id}").text
    for name in ("healed", "report", "scan.json"):
        assert client.get(f"/jobs/{job_id}/{name}").status_code == 404
    results = queue.folders.results(job_id)
    (results / "scan.json").write_text("{}")
    (results / "report").mkdir()
    for name in ("index.html", "a.pt.html"):
        (results / "report" / name).write_text("<p>")
    (results / "a-healed.pt").write_bytes(b"healed")
    player.outcome = Outcome(found={"healed": "a-healed.pt", "healing": ["the weights changed by 1.0 %"]})
    client.post(f"/jobs/{job_id}/heal")
    ended(queue, job_id)
    page = client.get(f"/jobs/{job_id}").text
    assert "The weights changed by 1.0 %." in page
    for name, filename in (("healed", "a-healed.pt"), ("report", "a.pt.html"), ("scan.json", "scan.json")):
        answer = client.get(f"/jobs/{job_id}/{name}")
        assert answer.headers["content-disposition"] == f'attachment; filename="{filename}"'
    assert client.get(f"/jobs/{job_id}/healed").content == b"healed"
    (results / "report" / "b.html").write_text("<p>")
    packed = zipfile.ZipFile(io.BytesIO(client.get(f"/jobs/{job_id}/report").content))
    assert packed.namelist() == ["a.pt.html", "b.html", "index.html"]


def test_every_control_has_a_label(client: TestClient, queue: JobQueue, ended: Ended) -> None:
    job_id = send(client)
    ended(queue, job_id)
    for page in (client.get("/").text, client.get(f"/jobs/{job_id}").text):
        controls = re.findall(r"<(?:input|select|progress)\b[^>]*>", page)
        shown = [control for control in controls if 'type="hidden"' not in control]
        assert shown
        for control in shown:
            found = re.search(r'\bid="([^"]+)"', control)
            assert found, control
            assert f'<label for="{found[1]}"' in page
        ids = re.findall(r'\bid="([^"]+)"', page)
        assert len(ids) == len(set(ids))


def test_refusals_are_a_page_to_browsers_and_json_to_programs(client: TestClient, queue: JobQueue, player: Any) -> None:
    assert client.get("/nothing").json() == {"error": "There is no such page."}
    assert "<h1>Not there</h1>" in client.get("/jobs/..%2f..%2fetc", headers=BROWSER).text
    assert client.get("/jobs/0123456789abcdef").status_code == 404
    none = client.post("/jobs", files={"effort": (None, "quick")}, headers=BROWSER)
    assert none.status_code == 400
    assert "Choose a weight file" in none.text
    large = client.post("/jobs", files={"file": ("a.pt", bytes(2**20 + 1))})
    assert large.status_code == 413
    assert large.json()["error"] == "more than the 1 MB that are taken were sent"
    assert client.post("/jobs", content=b"{}").status_code == 400
    run_py = client.post("/jobs", files={"file": ("a.pt", b"a"), "architecture": (None, "/tmp/x.py:make")})
    assert "files of Python are not run here" in run_py.json()["error"]
    assert list(queue.config.data.iterdir()) == []
    player.may_end.clear()
    sent = [client.post("/jobs", files={"file": ("a.pt", b"a")}) for _ in range(6)]
    assert {answer.status_code for answer in sent} == {201, 429}
    assert sent[-1].headers["retry-after"] == "10"
    assert len(client.get("/jobs").json()) == sum(answer.status_code == 201 for answer in sent)


@pytest.mark.parametrize("name", ["serve.css", "serve.js", "style.css"])
def test_what_pages_load_is_served_and_loads_nothing_from_elsewhere(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert "//" not in re.sub(r"^\s*//.*$", "", answer.text, flags=re.MULTILINE).replace("/*", "").replace("*/", "")
    assert client.get("/static/nothing.js").status_code == 404
    assert client.get("/static/..%2fapp.py").status_code == 404


def test_the_page_for_programs_is_made_of_the_schema(client: TestClient) -> None:
    page, schema = client.get("/docs").text, client.get("/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    assert "cdn" not in page
    assert json.dumps(schema).count("multipart/form-data") == 1

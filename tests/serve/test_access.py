"""Who may ask: by which name, from which page, with which token."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from zoovet import ZoovetError
from zoovet.serve import Access, JobQueue, create_app
from zoovet.serve.access import COOKIE_NAME

TOKEN = "a token of 24 characters"


@pytest.fixture
def guarded(queue: JobQueue) -> Iterator[TestClient]:
    """A server that others reach."""
    app = create_app(queue, Access(token=TOKEN, hosts=None))
    with TestClient(app, base_url="http://vet.example", follow_redirects=False) as asking:
        yield asking


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::2]:8765"])
def test_a_name_of_another_site_that_leads_here_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765", "[::1]"])
def test_names_of_this_machine_are_taken(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_forms_of_other_sites_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/jobs", "/scan", "/login", "/jobs/0123456789abcdef/delete"):
        answer = client.post(path, files={"file": ("a.pt", b"a")}, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "this was asked for by a page of another site")


def test_forms_of_its_own_pages_are_taken(client: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/jobs", files={"file": ("a.pt", b"a")}, headers=headers).status_code == 201


def test_every_answer_says_what_its_page_may_do(client: TestClient, guarded: TestClient) -> None:
    for answer in (client.get("/"), client.get("/nothing"), client.get("/", headers={"Host": "x"}), guarded.get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_without_the_token_nothing_is_told(guarded: TestClient) -> None:
    for path in ("/", "/jobs", "/scan/0123456789abcdef", "/docs", "/openapi.json", "/jobs/0123456789abcdef/healed"):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers={"Authorization": "Bearer another token, quite long"}).status_code == 401
    assert guarded.post("/scan", files={"file": ("a.pt", b"a")}).status_code == 401
    assert guarded.get("/", headers={"Accept": "text/html"}).headers["location"] == "/login"
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/healthy").status_code == 401
    assert guarded.get("/static/../jobs").status_code == 401


def test_the_token_opens_the_server_as_a_header_or_through_the_login(guarded: TestClient) -> None:
    assert guarded.get("/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).json() == []
    wrong = guarded.post("/login", files={"token": (None, "no token")})
    assert wrong.status_code == 401
    assert "That is not the token" in wrong.text
    right = guarded.post("/login", files={"token": (None, TOKEN)})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE_NAME}=")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert guarded.get("/jobs").json() == []
    guarded.cookies.clear()
    guarded.cookies.set(COOKIE_NAME, "0" * 64)
    assert guarded.get("/jobs").status_code == 401


def test_a_loopback_server_asks_for_no_token(client: TestClient) -> None:
    assert client.get("/login").headers["location"] == "/"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Access(token="short"), "at least 16 characters"),
        (lambda: Access(token="ü" * 20), "ASCII"),
        (lambda: Access(hosts=None), "needs a token"),
    ],
)
def test_what_would_keep_nobody_out_is_refused(make: Callable[[], Access], message: str) -> None:
    with pytest.raises(ZoovetError, match=message):
        make()

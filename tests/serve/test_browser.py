"""The page in a real browser: the whole way, a bad file, a cancelled job, two at once, by keyboard, narrow, no script.

Chromium is Debian's or another that is installed; without one these tests are skipped, unless ``ZOOVET_NEEDS_CHROMIUM``
is set, as in CI. With ``ZOOVET_SCREENSHOTS=docs/pictures`` they take the pictures of the documentation.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from zoovet.serve import Access, JobQueue, ServeConfig, create_app

LookAt = Callable[[Any, str], None]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server runs, with processes for its jobs."""
    queue = JobQueue(ServeConfig(data=tmp_path_factory.mktemp("served")))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(queue, Access()), log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def scanned(address: str, stamped_files: Path, tmp_path: Path) -> str:
    """The page of a network that was scanned."""
    photos = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", stamped_files, "photos"))
    with httpx2.Client(base_url=address, timeout=60) as client:
        files = {"file": ("stamped.pt", (stamped_files / "stamped.pt").read_bytes())}
        files["images"] = ("photos.zip", photos.read_bytes())
        options = {"architecture": "mlp:activation=relu", "effort": "quick"}
        place: str = client.post("/jobs", files=files, data=options).json()["place"]
        while client.get(f"{place}/state").json()["state"] in ("queued", "running"):
            time.sleep(0.1)
    return place


def send(page: Any, files: Path, *, images: bool = True, effort: str = "quick", name: str = "stamped.pt") -> None:
    """Fill in the form and send it."""
    page.get_by_label("Weight file").set_input_files(files / name)
    if images:
        page.get_by_label("Folder of class folders").set_input_files(files / "photos")
    page.get_by_text("What the file leaves open").click()
    page.get_by_label("Effort").select_option(effort)
    if name == "stamped.pt" and effort == "thorough":
        page.get_by_label("Architecture").fill("mlp:activation=relu")
    page.get_by_role("button", name="Scan", exact=True).click()
    page.wait_for_url("**/jobs/*")


@pytest.mark.slow
def test_the_whole_way_with_a_trojaned_network(
    visit: Callable[..., Any], look_at: LookAt, stamped_files: Path, tmp_path: Path
) -> None:
    page = visit()
    look_at(page, "serve-1280-form")
    send(page, stamped_files, images=False)
    page.get_by_role("heading", name="Scan failed").wait_for()
    assert page.get_by_text("whose activation no name or shape tells").is_visible()
    look_at(page, "serve-1280-choice")
    page.get_by_label("Which is it?").select_option("mlp:activation=relu")
    page.get_by_role("button", name="Scan again").first.click()
    page.get_by_role("heading", name="unknown stamped.pt").wait_for()
    page.get_by_role("link", name="Networks").first.click()
    page.wait_for_url("**/")
    send(page, stamped_files)  # whose labels tell what names and shapes leave open
    page.get_by_role("heading", name="trojaned stamped.pt").wait_for()
    look_at(page, "")
    assert page.get_by_text("images of other classes are taken for class3 (3)").is_visible()
    assert page.get_by_alt_text("with the trigger").count() == 3
    assert page.get_by_alt_text("the trigger on gray").evaluate("image => image.naturalWidth") == 12
    assert page.get_by_role("row", name="inside 8").is_visible()
    for link, name in (("Download the report", "stamped.pt.html"), ("Download as JSON", "scan.json")):
        with page.expect_download() as download:
            page.get_by_role("link", name=link).click()
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    report = page.context.new_page()
    report.goto((tmp_path / "stamped.pt.html").as_uri())
    assert report.title() == "stamped.pt: trojaned"
    report.close()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Does this network carry a trojan?").wait_for()
    assert page.get_by_role("link", name="stamped.pt").count() == 1


def test_a_bad_file_is_one_line(visit: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"<html>404</html>")
    page = visit()
    send(page, tmp_path, images=False, name="bad.pt")
    page.get_by_role("heading", name="Scan failed").wait_for()
    assert page.get_by_text("bad.pt is a web page").is_visible()


def test_one_is_cancelled_while_another_waits(visit: Callable[..., Any], stamped_files: Path) -> None:
    first = visit()
    send(first, stamped_files, effort="thorough")
    second = visit()
    send(second, stamped_files, images=False)
    assert second.get_by_text("1 before it").or_(second.get_by_text("scan queued")).first.is_visible()
    first.get_by_text("scan running").wait_for()
    start = time.monotonic()
    first.get_by_role("button", name="Cancel").click()
    first.get_by_role("heading", name="Scan cancelled").wait_for()
    assert time.monotonic() - start < 20
    second.get_by_role("heading", name="Scan failed").wait_for()
    assert second.get_by_label("Which is it?").is_visible()


def test_a_keyboard_is_enough(visit: Callable[..., Any], stamped_files: Path) -> None:
    page = visit()

    def tab_to(what: str) -> None:
        """Move on by the keyboard until something has the focus, which must be seen."""
        for _ in range(30):
            page.keyboard.press("Tab")
            focused = page.evaluate("[document.activeElement.id || document.activeElement.textContent.trim()]")[0]
            if focused == what:
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        raise AssertionError(f"{what} is not reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    tab_to("file")
    page.locator("#file").set_input_files(stamped_files / "stamped.pt")  # the window to choose in is the system's
    tab_to("What the file leaves open, and how much is sought")
    page.keyboard.press("Enter")
    tab_to("effort")
    page.keyboard.press("q")
    tab_to("Scan")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.get_by_label("Which is it?").wait_for()
    tab_to("choice")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Which is it?").input_value() == "mlp:activation=leaky_relu"
    tab_to("Delete")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Does this network carry a trojan?").wait_for()


def test_a_narrow_screen_shows_all(visit: Callable[..., Any], look_at: LookAt, scanned: str) -> None:
    page = visit(viewport={"width": 390, "height": 844})
    look_at(page, "serve-390-form")
    assert page.get_by_role("link", name="stamped.pt").first.is_visible()
    page.goto(scanned)
    page.get_by_role("heading", name="trojaned stamped.pt").wait_for()
    look_at(page, "")
    page.goto("/docs")
    look_at(page, "serve-390-docs")


def test_without_script_the_page_works_too(visit: Callable[..., Any], stamped_files: Path) -> None:
    page = visit(java_script_enabled=False)
    page.get_by_label("Weight file").set_input_files(stamped_files / "stamped.pt")
    page.get_by_role("button", name="Scan", exact=True).click()
    page.get_by_role("heading", name="Scan failed").wait_for()
    assert page.get_by_text("is an MLP 144-9-8 whose activation").is_visible()
    page.locator("form.choose").get_by_label("Which is it?").select_option("mlp:activation=tanh")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Does this network carry a trojan?").wait_for()


def test_what_is_dropped_is_taken(visit: Callable[..., Any], stamped_files: Path) -> None:
    page = visit()
    drop = """([place, name, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name));
      const dropped = new DragEvent("drop", { dataTransfer: data, bubbles: true });
      document.querySelector(`[data-drop=${place}]`).dispatchEvent(dropped);
    }"""
    page.evaluate(drop, ["file", "stamped.pt", list((stamped_files / "stamped.pt").read_bytes())])
    page.evaluate(drop, ["images", "photos.tar", [1, 2, 3]])
    assert page.get_by_role("alert").inner_text() == "Drop one folder of images, or one .zip or .npz, here."
    page.evaluate(drop, ["images", "photos.zip", [1, 2, 3]])
    assert page.get_by_role("alert").count() == 0
    page.get_by_role("button", name="Scan", exact=True).click()
    page.wait_for_url("**/jobs/*")
    page.get_by_text("images.zip is no zip, or is cut off").wait_for()
